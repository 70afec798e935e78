// What streams that share a connection make of lost messages and of refusals: all parts are the
// client's, only the browser is not. Its ports drop what a test wants dropped.

import assert from "node:assert/strict";
import { test } from "node:test";
import { READY, aWhile, event, load, refuses, serve, streams } from "./serve.mjs";

const AFTER = "0000000a.1";
const locks = new Map();
const navigator = {
  locks: {
    request(name, ...rest) {
      const held = (locks.get(name) ?? Promise.resolve()).then(rest.at(-1));
      locks.set(name, held.catch(() => {}));
      return held;
    },
  },
};
Object.defineProperty(globalThis, "navigator", { value: navigator });
globalThis.location = new URL("http://127.0.0.1");
globalThis.SharedWorkerGlobalScope = class {};

/** A worker of its own for the streams of a test; gives its ends of the ports. */
async function work(drops = () => false) {
  await load("client/hub.js");
  const { onconnect } = globalThis;
  const ports = [];
  globalThis.SharedWorker = class {
    constructor() {
      const { port1, port2 } = new MessageChannel();
      const post = port2.postMessage.bind(port2);
      port2.postMessage = (message) => drops(message) || post(message);
      this.port = port1;
      ports.push(port2);
      onconnect({ ports: [port2] });
    }
  };
  return ports;
}

const page = (response) => response.end(JSON.stringify({ events: [], next: AFTER }));
const asks = (url, path, channel) =>
  url.startsWith(`/api/${path}?`) && new URL(url, location).searchParams.getAll("channel").includes(channel);

test("who has lost the last of too much is resumed", { timeout: 9000 }, async () => {
  let lost = 0;
  // And the next, which says that no more comes.
  const ports = await work(({ frames }) => {
    const drop = lost === 1 || frames?.some(({ data = "" }) => data.length > 4e6);
    if (drop) lost++;
    return drop;
  });
  const big = `id: 0000000a.2\ndata: ${JSON.stringify({ channel: "a", data: "x".repeat(4e6) })}\n\n`;
  const server = await serve(streams(READY, big), streams(event(2)));
  let take;
  const came = new Promise((resolve) => (take = resolve));
  const options = { shared: true, after: AFTER, times: { ping: 100 } };
  const stream = server.open({ ...options, onEvent: ({ data }) => take(data) });
  assert.equal(await came, 2);
  assert.equal(lost, 2);
  assert.equal(server.requests[1].headers["last-event-id"], AFTER);
  stream.close();
  // Nothing tells when: a test that is cut off has failed.
  while (ports.some(({ onmessage }) => onmessage)) await aWhile(5);
});

test("retry() does not wait for what the server asked for", { timeout: 9000 }, async () => {
  await work();
  const server = await serve(refuses(503, { "Retry-After": "31536000" }), streams(READY));
  const stream = server.open({ shared: true });
  await server.until(() => stream.status.state === "reconnecting");
  stream.retry();
  await server.until(() => stream.status.state === "live");
  assert.equal(stream.status.shared, "worker");
});

test("a check that fails for now ends nobody, and is not repeated at once", { timeout: 9000 }, async () => {
  await work();
  let fails = true;
  const server = await serve((response, _, url) => {
    if (asks(url, "stream", "b")) (fails ? refuses(401) : streams(READY))(response);
    else if (asks(url, "events", "b")) refuses(503, { "Retry-After": "31536000" })(response);
    else (url.startsWith("/api/stream") ? streams(READY) : page)(response);
  });
  const options = { shared: true, after: AFTER };
  const one = server.open(options);
  await server.until(() => one.status.state === "live");
  const two = server.open({ ...options, channels: ["b"] });
  await server.until(() => two.status.state === "reconnecting");
  assert.equal(two.status.error.status, 503);
  const before = server.requests.length;
  await aWhile(60);
  assert.equal(server.requests.length, before);
  fails = false;
  two.retry();
  await server.until(() => two.status.state === "live" && one.status.state === "live");
  assert.ok([...one.told, ...two.told].every(({ state }) => state !== "ended"));
});

test("a refusal of channels that were changed meanwhile is none", { timeout: 9000 }, async () => {
  await work();
  let check, open;
  const server = await serve((response, _, url) => {
    if (asks(url, "events", "b")) check = response;
    else if (asks(url, "stream", "b")) refuses(403)(response);
    else (url.startsWith("/api/stream") ? streams(READY) : page)((open = response));
  });
  let take;
  const came = new Promise((resolve) => (take = resolve));
  const options = { shared: true, after: AFTER };
  const one = server.open(options);
  await server.until(() => one.status.state === "live");
  const two = server.open({ ...options, channels: ["b"], onEvent: ({ data }) => take(data) });
  await server.until(() => check);
  two.remove("b");
  two.add("c");
  await server.until(() => two.status.state === "live");
  refuses(403)(check);
  await aWhile(50);
  open.write('id: 0000000a.2\ndata: {"channel":"c","data":2}\n\n');
  assert.equal(await came, 2);
  assert.ok(two.told.every(({ state }) => state !== "ended"));
});
