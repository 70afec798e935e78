// The browser client outside a browser, against a server of the worst kind: what it does with each
// answer is told by the requests that follow it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { READY, aWhile, ends, event, refuses, serve, streams } from "./serve.mjs";

test("runs where there is no document, and a loop that begins late or anew misses nothing", async () => {
  const server = await serve(streams(READY, event(2), event(3), event(4)));
  const stream = server.open();
  await server.until(() => stream.status.state === "live");
  await aWhile(20);
  const taken = [];
  for await (const { data } of stream) {
    taken.push(data);
    if (data === 2) break;
  }
  await aWhile(20);
  for await (const { data } of stream) {
    taken.push(data);
    if (data === 4) break;
  }
  assert.deepEqual(taken, [2, 3, 4]);
  assert.equal(stream.position, "0000000a.4");
});

test("a token function that fails with nothing, or never answers, is asked again", async () => {
  const server = await serve(streams(READY));
  let asked = 0;
  const token = () => {
    asked++;
    if (asked === 1) return Promise.reject();
    if (asked === 2) return new Promise(() => {});
    return "good";
  };
  const stream = server.open({ token, times: { open: 50 } });
  await server.until(() => stream.status.state === "live");
  assert.equal(asked, 3);
  assert.equal(server.requests[0].headers.authorization, "Bearer good");
});

test("a token without life is not renewed without end", async () => {
  const server = await serve(streams(READY));
  let asked = 0;
  const stream = server.open({ token: () => ({ token: String(++asked), expiresIn: null }) });
  await server.until(() => stream.status.state === "live");
  await aWhile(50);
  assert.equal(asked, 1);
});

for (const [name, answer] of [
  ["retry of a year", ends(`retry: 31536000000\n${READY}`)],
  ["Retry-After of a year", refuses(503, { "Retry-After": "31536000" })],
])
  test(`${name} is no reason to come back at once`, async () => {
    const server = await serve(answer);
    const stream = server.open();
    await server.until(() => stream.status.state === "reconnecting");
    await aWhile(50);
    assert.equal(server.requests.length, 1);
  });

test("Retry-After is waited for, and not by all equally long", async () => {
  const server = await serve(refuses(503, { "Retry-After": "1" }));
  const began = Date.now();
  const some = Array.from({ length: 8 }, () => server.open({ times: { retry: 1000 } }));
  await server.until(() => some.every(({ status }) => status.until));
  const waits = some.map(({ status }) => status.until - began);
  assert.ok(Math.min(...waits) >= 1000);
  assert.ok(Math.max(...waits) - Math.min(...waits) > 50, String(waits));
});

test("the network's return ends a wait, but not one that the server asked for", async () => {
  const world = new EventTarget();
  globalThis.addEventListener = world.addEventListener.bind(world);
  const overload = ends('retry: 200\nevent: bye\ndata: {"reason":"overload"}\n\n');
  const later = refuses(503, { "Retry-After": "1" });
  const server = await serve(refuses(503), overload, later, streams(READY));
  const stream = server.open({ times: { retry: 60_000 } });
  const waits = [];
  for (let tries = 1; tries < 4; tries++) {
    await server.until(() => stream.told.filter(({ until }) => until).length === tries);
    waits.push(stream.status.until);
    world.dispatchEvent(new Event("online"));
  }
  await server.until(() => stream.status.state === "live");
  const [, , after, live] = server.requests.map(({ at }) => at);
  assert.ok(after >= waits[1]);
  assert.ok(live >= waits[2]);
});

for (const [name, answers, shortest, longest] of [
  ["at its default", [refuses(503)], 1000, 30_000],
  ["at what was told", [ends(`retry: 3000\n${READY}`), refuses(503)], 3000, 30_000],
  ["at more than the limit", [ends(`retry: 60000\n${READY}`), refuses(503)], 60_000, 60_000],
])
  test(`waits grow from retry to a limit, never shorter than retry, ${name}`, async () => {
    const world = new EventTarget();
    globalThis.addEventListener = world.addEventListener.bind(world);
    const server = await serve(...answers);
    // A wait is less than from the request on, and more than from now on, however slow this is.
    const bounds = [];
    const stream = server.open({
      times: { retry: 1000 },
      onStatus({ until, reason }) {
        if (!until) return;
        bounds.push([until - Date.now(), until - server.requests.at(-1).at]);
        setTimeout(() => world.dispatchEvent(new Event("online")));
      },
    });
    await server.until(() => server.requests.length > 10);
    stream.close();
    // The first after a stream is as it was told.
    if (answers.length > 1) bounds.shift();
    for (const [tries, [least, most]] of bounds.entries()) {
      const grown = Math.min(shortest * 2 ** tries, longest);
      assert.ok(most >= grown && least <= grown * 1.34, `${tries}: ${grown} in ${least}-${most}`);
    }
    const last = bounds.slice(6).map(([least]) => least);
    assert.ok(Math.max(...last) - Math.min(...last) > 100, String(last));
  });

test("every way to start is told, with the headers and the mode", async () => {
  const server = await serve(streams(READY));
  for (const [start, told] of [
    [{ since: new Date(0) }, "1970-01-01T00:00:00.000Z"],
    [{ since: "10m" }, "10m"],
    [{ after: "earliest" }, "earliest"],
  ]) {
    const stream = server.open({ headers: { "X-A": "1" }, mode: "latest", ...start });
    await server.until(() => stream.status.state === "live");
    const { url, headers } = server.requests.at(-1);
    const { pathname, searchParams } = new URL(url, "http://a");
    const [name] = Object.keys(start);
    assert.equal(pathname, "/api/stream");
    const fields = Object.fromEntries(searchParams);
    assert.deepEqual(fields, { channel: "a", mode: "latest", [name]: told });
    assert.equal(headers["x-a"], "1");
    assert.equal(headers["last-event-id"], undefined);
  }
});

test("short answers are no reason to poll", async () => {
  const server = await serve(...Array(8).fill(ends(READY)), streams(READY));
  const stream = server.open();
  await server.until(() => server.requests.length > 8 && stream.status.state === "live");
  assert.deepEqual([...new Set(stream.told.map(({ transport }) => transport))], ["stream"]);
  for (const { url } of server.requests) assert.match(url, /^\/api\/stream\?/);
});

test("what is too much to wait here stays at the server until it is wanted", async () => {
  const numbers = Array.from({ length: 10_100 }, (_, n) => n + 2);
  let left;
  const put = new Promise((resolve) => (left = resolve));
  const server = await serve((response, { "last-event-id": id = "a.1" }) => {
    response.on("close", left);
    const missed = numbers.slice(id.split(".")[1] - 1);
    streams(READY.replace("0000000a.1", id), ...missed.map(event))(response);
  });
  const stream = server.open();
  await put;
  await aWhile(150);
  assert.equal(server.requests.length, 1);
  const taken = [];
  for await (const { data } of stream) {
    taken.push(data);
    if (data === numbers.at(-1)) break;
  }
  assert.deepEqual(taken, numbers);
  const [, { headers }] = server.requests;
  // The 10,001st block, of which the first is `ready`.
  assert.equal(headers["last-event-id"], "0000000a.10001");
});

test("close() in any callback is the end", async () => {
  const server = await serve(streams(READY, event(2)));
  const events = [];
  const stream = server.open({
    onFrame: ({ data }) => data?.includes("channel") && stream.close(),
    onEvent: (event) => events.push(event),
  });
  await server.until(() => stream.status.state === "live");
  await aWhile(20);
  assert.deepEqual(events, []);
});

test("a loop can be ended while it waits, and onEvent has what comes next", { timeout: 9000 }, async () => {
  let open;
  const server = await serve((response) => streams(READY)((open = response)));
  let take;
  const came = new Promise((resolve) => (take = resolve));
  const stream = server.open({ onEvent: ({ data }) => take(data) });
  const loop = stream[Symbol.asyncIterator]();
  const pending = loop.next();
  await server.until(() => stream.status.state === "live");
  assert.deepEqual((await Promise.all([loop.return(), pending])).map(({ done }) => done), [true, true]);
  open.write(event(2));
  assert.equal(await came, 2);
});

test("a loop goes on after what ended it, and holds nothing up meanwhile", { timeout: 9000 }, async () => {
  const server = await serve(refuses(403), streams(READY, event(2)), refuses(403), streams(event(3)));
  let take;
  const stream = server.open({ onEvent: ({ data }) => take?.(data) });
  const loop = stream[Symbol.asyncIterator]();
  await assert.rejects(loop.next(), { status: 403 });
  stream.retry();
  const { value, done } = await loop.next();
  assert.deepEqual([value.data, done], [2, false]);
  stream.retry();
  await assert.rejects(loop.next(), { status: 403 });
  const came = new Promise((resolve) => (take = resolve));
  stream.retry();
  assert.equal(await came, 3);
});
