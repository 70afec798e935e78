// The browser client's parser: the examples of WHATWG HTML 9.2.6, the cases of LaunchDarkly's SSE
// contract tests by their names, and what else the standard says. Every case is read whole, byte
// by byte, in pairs of bytes, and cut in two at every place.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

// By its text: as a file, what it is would depend on a package.json that the server does not have.
const source = await readFile(new URL("../../server/dashboard/client/client/connection.js", import.meta.url));
const { createParser } = await import(`data:text/javascript;base64,${source.toString("base64")}`);

const bytes = (text) => (typeof text === "string" ? new TextEncoder().encode(text) : text);

/** What an EventSource would dispatch and keep, of these chunks. */
function read(chunks) {
  const parser = createParser();
  const events = [];
  let id = "";
  for (const chunk of chunks)
    for (const block of parser.push(chunk)) {
      id = block.id ?? id;
      if (block.data !== undefined)
        events.push({ type: block.event || "message", data: block.data, id });
    }
  return { events, id, retry: parser.retry };
}

/** `text` cut in every way that could matter. */
function* cuts(text) {
  const all = bytes(text);
  yield [all];
  for (const size of [1, 2]) {
    const chunks = [];
    for (let at = 0; at < all.length; at += size) chunks.push(all.subarray(at, at + size));
    yield chunks;
  }
  for (let at = 1; at < all.length; at++) yield [all.subarray(0, at), all.subarray(at)];
}

const event = (data, more) => ({ type: "message", data, id: "", ...more });

function reads(name, text, events, { id = events.at(-1)?.id ?? "", retry } = {}) {
  test(name, () => {
    for (const chunks of cuts(text)) {
      const found = read(chunks);
      const where = chunks.map((chunk) => chunk.length).slice(0, 3).join("+");
      assert.deepEqual(found.events, events, where);
      assert.equal(found.id, id, where);
      assert.equal(found.retry, retry, where);
    }
  });
}

// The examples of WHATWG HTML 9.2.6.
reads("WHATWG: stocks", "data: YHOO\ndata: +2\ndata: 10\n\n", [event("YHOO\n+2\n10")]);
reads(
  "WHATWG: a comment, an id, an id reset, an extra space",
  ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
  [event("first event", { id: "1" }), event("second event"), event(" third event")],
);
reads("WHATWG: empty data, two lines of it, no end", "data\n\ndata\ndata\n\ndata:", [
  event(""),
  event("\n"),
]);
reads("WHATWG: the space after the colon is optional", "data:test\n\ndata: test\n\n", [
  event("test"),
  event("test"),
]);

// LaunchDarkly's sse-contract-tests: basic parsing.
reads("one-line message in one chunk", "data: Hello\n\n", [event("Hello")]);
reads("two one-line messages in one chunk", "data: Hello\n\ndata: World\n\n", [
  event("Hello"),
  event("World"),
]);
reads("one two-line message in one chunk", "data: Hello\ndata:World\n\n", [event("Hello\nWorld")]);
reads("empty data", "data:\n\n", [event("")]);
reads("event with specific type", "event: greeting\ndata: Hello\n\n", [
  event("Hello", { type: "greeting" }),
]);
reads("default event type", "data: Hello\n\n", [event("Hello")]);
reads("event with ID", "id: abc\ndata: Hello\n\n", [event("Hello", { id: "abc" })]);
reads("event with type and ID", "event: greeting\nid: abc\ndata: Hello\n\n", [
  event("Hello", { type: "greeting", id: "abc" }),
]);
reads("ID field is ignored if it contains a null", "id: a\0bc\ndata: Hello\n\n", [event("Hello")]);
reads("last ID persists if not overridden by later event", "id: abc\ndata: first\n\ndata: second\n\n", [
  event("first", { id: "abc" }),
  event("second", { id: "abc" }),
]);
reads("last ID can be overridden by an empty value", "id: abc\ndata: first\n\nid: \ndata: second\n\n", [
  event("first", { id: "abc" }),
  event("second"),
]);
reads("fields in reverse order", "data: Hello\nid: abc\nevent: greeting\n\n", [
  event("Hello", { type: "greeting", id: "abc" }),
]);
reads("unknown field is ignored", "event: greeting\ncolor: blue\ndata: Hello\n\n", [
  event("Hello", { type: "greeting" }),
]);
reads("fields without leading space", "event:greeting\ndata:Hello\n\n", [
  event("Hello", { type: "greeting" }),
]);
reads("fields with extra leading space", "event:  greeting\ndata:  Hello\n\n", [
  event(" Hello", { type: " greeting" }),
]);
reads("field with no colon", "data\n\ndata\ndata\n\n", [event(""), event("\n")]);
reads("multi-byte characters", "data: €豆腐\n\n", [event("€豆腐")]);
test("many messages in rapid succession", () => {
  const count = 100;
  const text = Array.from({ length: count }, (_, n) => `data: message ${n}\n\n`).join("");
  const data = read([bytes(text)]).events.map((found) => found.data);
  assert.deepEqual(data, Array.from({ length: count }, (_, n) => `message ${n}`));
});
test("two messages spanning 3 chunks with shared chunk", () => {
  const chunks = ["data: test", "test\n\ndata:", "test\n\n"].map(bytes);
  assert.deepEqual(read(chunks).events, [event("testtest"), event("test")]);
});
test("large message in one chunk, and in two", () => {
  const half = "qZ7+".repeat(1_250_000);
  assert.equal(read([bytes(`data: ${half}\n\n`)]).events[0].data, half);
  const two = [`data: ${half}`, `${half}\n\n`].map(bytes);
  assert.equal(read(two).events[0].data, half + half);
});

// LaunchDarkly: BOM handling.
const BOM = "\uFEFF";
reads("BOM at start of stream is stripped", `${BOM}data: Hello\n\n`, [event("Hello")]);
reads("BOM stripped before first event with type and ID", `${BOM}event: greeting\nid: abc\ndata: Hello\n\n`, [
  event("Hello", { type: "greeting", id: "abc" }),
]);
reads("BOM stripped with multiple messages", `${BOM}data: First\n\ndata: Second\n\n`, [
  event("First"),
  event("Second"),
]);
reads("BOM only stripped at stream start, not from later data", `data: First\n\ndata: ${BOM}Second\n\n`, [
  event("First"),
  event(`${BOM}Second`),
]);
reads("only first BOM at start is stripped", `${BOM}data: ${BOM}Hello\n\n`, [event(`${BOM}Hello`)]);
reads("BOM with multi-line data", `${BOM}data: Line1\ndata: Line2\n\n`, [event("Line1\nLine2")]);
reads("BOM with comment at start", `${BOM}:comment\ndata: Hello\n\n`, [event("Hello")]);
reads("BOM does not affect empty data field", `${BOM}data:\n\n`, [event("")]);
reads("a second BOM belongs to the first line's name", `${BOM}${BOM}data: Hello\n\n`, []);

// LaunchDarkly: comments.
reads("single comment, two comments in a row", ":Hello\n:World\n", []);
reads("comment before event", ":Hello\ndata: Hello\n\n", [event("Hello")]);
reads("comment after event", "data: Hello\n\n:Hello\n", [event("Hello")]);
reads("comment within an event", "data: Hello\n: data: no\n:\ndata: World\n\n", [event("Hello\nWorld")]);

// LaunchDarkly: linefeeds.
for (const [name, end] of Object.entries({ LF: "\n", CRLF: "\r\n", CR: "\r" })) {
  const says = (what, text, events) => reads(`${name} separator: ${what}`, text.replaceAll("\n", end), events);
  says("one-line event", "data: event 1\n\n", [event("event 1")]);
  says("one-line event + two-line event", "data: event 1\n\ndata: event 2 line 1\ndata: event 2 line 2\n\n", [
    event("event 1"),
    event("event 2 line 1\nevent 2 line 2"),
  ]);
  says("3-line event with empty line at beginning", "data:\ndata: line2\ndata: line3\n\n", [event("\nline2\nline3")]);
  says("3-line event with empty line in middle", "data: line1\ndata:\ndata: line3\n\n", [event("line1\n\nline3")]);
  says("ignores 1 extra empty line", "data: event 1\n\n\ndata: event 2\n\n", [event("event 1"), event("event 2")]);
  says("ignores 2 extra empty lines", "data: event 1\n\n\n\ndata: event 2\n\n", [event("event 1"), event("event 2")]);
}
test("CRLF where CR is end of 1 chunk", () => {
  const chunks = ["data: Hello\r", "\ndata: World\r", "\n\r\ndata: OK\r", "\n", "\r", "\n"].map(bytes);
  assert.deepEqual(read(chunks).events, [event("Hello\nWorld"), event("OK")]);
});
reads("ends of lines may be mixed", "data: 1\r\ndata: 2\rdata: 3\n\r\ndata: 4\r\r\n", [event("1\n2\n3"), event("4")]);

// LaunchDarkly: reconnection, as far as it is the parser's.
reads("discards partial messages", "id: abc\ndata: Hello\n\nid: def\ndata: Goodbye", [event("Hello", { id: "abc" })]);

// What else the standard says.
reads("without an empty line at the end there is no block", "data: Hello\n", []);
reads("an id-only block moves the position and dispatches nothing", "id: 1\ndata: a\n\nid: 7\n\n", [event("a", { id: "1" })], { id: "7" });
reads("an id with NUL leaves the one before it in its block", "id: 1\nid: 2\0\ndata: a\n\n", [event("a", { id: "1" })]);
reads("a block without data drops its type", "event: a\n\ndata: b\n\n", [event("b")]);
reads("an empty type is the default", "event: a\nevent:\ndata: b\n\n", [event("b")]);
reads("the last of several types and ids counts", "event: a\nid: 1\nid: 2\nevent: b\ndata: c\n\n", [event("c", { type: "b", id: "2" })]);
reads("retry takes ASCII digits alone", "retry: 1500\n\nretry: 1.5\nretry: -1\nretry: 2e3\nretry:\nretry: ٣\nretry:  7\n\n", [], { retry: 1500 });
reads("retry holds although its block does not end", "retry:042\n", [], { retry: 42 });
reads("names of fields are case-sensitive and whole", "Data: a\ndata : b\n data: c\ndatas: d\n\n", []);
reads("a colon in the value is the value's", "data: a:b: c\ndata::\n\n", [event("a:b: c\n:")]);
reads("only one space is taken, and no tab", "data:\ta\ndata:  b \n\n", [event("\ta\n b ")]);
reads("an empty id in the middle of a block resets it", "id: 1\n\nid\ndata: a\n\n", [event("a")]);
reads("other line separators of Unicode are text", "data: a\u2028b\u2029c\u0085d\vf\n\n", [event("a\u2028b\u2029c\u0085d\vf")]);
reads("bytes that are no UTF-8 are replaced", Uint8Array.of(...bytes("data: a"), 0xff, 0xe2, 0x82, ...bytes("b\n\n")), [event("a\ufffd\ufffdb")]);
reads("astral characters are not split", "data: \u{1f600}\nid: \u{1f600}\n\n", [event("\u{1f600}", { id: "\u{1f600}" })]);

test("only the fields that were told are in a block", () => {
  const parser = createParser();
  assert.deepEqual(parser.push(bytes("id: 1\n\n:\n\nretry: 5\n\nevent: e\ndata: d\n\nx: y\n\n")), [
    { id: "1" },
    { retry: 5 },
    { event: "e", data: "d" },
  ]);
});

test("a line in many chunks takes time in proportion", () => {
  const chunk = bytes("x".repeat(1000));
  const time = (count) => {
    const parser = createParser();
    const start = process.cpuUsage();
    parser.push(bytes("data: "));
    for (let n = 0; n < count; n++) parser.push(chunk);
    const [block] = parser.push(bytes("\n\n"));
    assert.equal(block.data.length, count * 1000);
    const { user, system } = process.cpuUsage(start);
    return user + system;
  };
  time(1000);
  // Searched anew with every chunk it would be 64 times as much.
  assert.ok(time(16_000) < 40 * time(2_000));
});
