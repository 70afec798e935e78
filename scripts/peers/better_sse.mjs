// better-sse on Node's own HTTP server, by its documented means: a channel, sessions, broadcast.
//
//     node better_sse.mjs PORT
//
// The body is JSON already: a serializer that leaves it alone spares better-sse a stringify for
// each client, and Node a parse.
import { createRequire } from "node:module";
import { createServer } from "node:http";

// From the folder that the peers are installed in, wherever this file is.
const { createChannel, createSession } = createRequire(`${process.cwd()}/`)("better-sse");

const channels = new Map();
const options = { serializer: String };

function channel(name) {
  let found = channels.get(name);
  if (found === undefined) {
    found = createChannel();
    channels.set(name, found);
  }
  return found;
}

async function body(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts).toString();
}

const server = createServer(async (request, response) => {
  const url = new URL(request.url, "http://localhost");
  const name = url.searchParams.get("channel") ?? "c";
  if (url.pathname === "/sse") {
    channel(name).register(await createSession(request, response, options));
  } else if (url.pathname === "/pub") {
    const data = await body(request);
    const count = Number(url.searchParams.get("channels") ?? 0);
    if (count === 0) channel(name).broadcast(data);
    // One event to each of N channels.
    for (let number = 0; number < count; number += 1) channel(`c${number}`).broadcast(data);
    response.end();
  } else {
    response.end("ok");
  }
});
server.requestTimeout = 0;
server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
