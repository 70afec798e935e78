// A server of the worst kind, and the browser client bundled for Node.js.

import { createServer } from "node:http";
import { after } from "node:test";
import { buildSync } from "esbuild";

const CLIENT = new URL("../../server/dashboard/client/", import.meta.url).pathname;

/** A module of the client, a new one each time. By its text: as a file, what it is would depend on
 * a package.json that the server does not have. */
export function load(name) {
  const { outputFiles } = buildSync({
    entryPoints: [CLIENT + name],
    bundle: true,
    format: "esm",
    define: { "import.meta.url": JSON.stringify("http://127.0.0.1/client.js") },
    footer: { js: `// ${performance.now()}` },
    write: false,
  });
  const text = Buffer.from(outputFiles[0].contents).toString("base64");
  return import(`data:text/javascript;base64,${text}`);
}

const { connect } = await load("client.js");

export const READY = 'id: 0000000a.1\nevent: ready\ndata: {"heartbeat":60}\n\n';
export const event = (n) => `id: 0000000a.${n}\ndata: {"channel":"a","data":${n}}\n\n`;

/** A server that gives its answers in turn and the last one for ever; `requests` are what came. */
export async function serve(...answers) {
  const requests = [];
  let came = () => {};
  const server = createServer((request, response) => {
    const answer = answers[Math.min(requests.length, answers.length - 1)];
    requests.push({ at: Date.now(), url: request.url, headers: request.headers });
    answer(response, request.headers, request.url);
    came();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const streams = [];
  const close = () => {
    for (const stream of streams) stream.close();
    server.closeAllConnections();
    server.close();
  };
  after(close);
  return {
    requests,
    /** A stream of it; `seen` and `status` are what was told. */
    open(options = {}) {
      const seen = [];
      const status = [];
      const stream = connect({
        url: `http://127.0.0.1:${server.address().port}/api/stream`,
        channels: ["a"],
        onStatus(told) {
          status.push(told);
          came();
        },
        ...options,
        times: { retry: 20, ...options.times },
      });
      streams.push(stream);
      return Object.assign(stream, { seen, told: status });
    },
    /** Once something holds, which is looked at whenever something has happened. */
    until: (holds) =>
      new Promise((resolve) => {
        came = () => holds() && resolve();
        came();
      }),
  };
}

export const streams = (...blocks) => (response) => {
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  response.write(blocks.join(""));
};
export const ends = (...blocks) => (response) => {
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  response.end(blocks.join(""));
};
export const refuses = (status, headers) => (response) => response.writeHead(status, headers).end();

/** For a while: what must not happen has the time to. */
export const aWhile = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
