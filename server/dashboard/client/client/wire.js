// The wire: how a stream is read (WHATWG HTML 9.2.6), what is asked of the server, and what answers
// and blocks mean (docs/streams.md).

// `push(bytes)` gives the blocks that they end, with the fields that were told: id, event, data,
// retry. `retry` is the last such field: it holds at once, even of a block that never ends.
export function createParser() {
  // Takes away one BOM.
  const decoder = new TextDecoder();
  const parser = { push };
  // Only new text is searched: a line in thousands of chunks stays linear.
  let line = "";
  // A LF that comes next belongs to a CR.
  let cr;
  let block = {};

  function push(bytes) {
    const blocks = [];
    let text = decoder.decode(bytes, { stream: true });
    if (!text) return blocks;
    if (cr && text[0] === "\n") text = text.slice(1);
    cr = text.endsWith("\r");
    const ends = /\r\n?|\n/g;
    let from = 0;
    for (let end; (end = ends.exec(text)); from = ends.lastIndex) {
      line += text.slice(from, end.index);
      if (line) field(...line.match(/^([^:]*):? ?(.*)$/s));
      else if (Object.keys(block).length) {
        blocks.push(block);
        block = {};
      }
      line = "";
    }
    line += text.slice(from);
    return blocks;
  }

  function field(_, name, value) {
    if (name === "data") block.data = name in block ? `${block.data}\n${value}` : value;
    else if (name === "event") block.event = value;
    else if (name === "id" && !value.includes("\0")) block.id = value;
    else if (name === "retry" && /^\d+$/.test(value)) parser.retry = block.retry = +value;
  }

  return parser;
}

/** Longer lists are sent as a body: this much every proxy takes in an address. */
const LONG = 4000;

/** Ask `stream` or `events` for channels, from a position, else from where `start` says. */
export function ask(options, path, { channels, position, start, ...fields }, token, signal) {
  const url = new URL(options.url);
  const { mode, credentials } = options;
  const init = { signal, credentials, cache: "no-store", headers: { ...options.headers } };
  if (token) init.headers.Authorization = `Bearer ${token.token ?? token}`;
  fields = { ...(position ? { after: position } : start), ...fields };
  if (path === "events") url.pathname = url.pathname.replace(/[^/]*$/, path);
  else {
    fields.mode = mode;
    if (channels.join().length > LONG) {
      init.method = "POST";
      init.headers["Content-Type"] = "application/json";
      init.body = JSON.stringify({ ...fields, channels });
      return fetch(url, init);
    }
    if (position) {
      init.headers["Last-Event-ID"] = position;
      delete fields.after;
    }
  }
  for (const name of channels) url.searchParams.append("channel", name);
  for (const name in fields) if (fields[name] != null) url.searchParams.set(name, fields[name]);
  return fetch(url, init);
}

/** A good answer; else throws its `problem`, and in how many ms to come back `after`. */
export async function judge(answer) {
  const { status, statusText, headers } = answer;
  if (answer.ok && status !== 204) return answer;
  const problem = await answer.json().catch(() => {});
  const later = headers.get("Retry-After");
  const after = later > 0 ? later * 1000 : Date.parse(later) - Date.now() || 0;
  throw { problem: { error: statusText, ...problem, status }, after };
}

/** Whether asking again cannot help. 204 is HTTP's word for "do not come back" (HTML 9.2.3). */
export const isFinal = (status) => /^(204|4(?!08|25|29)..)$/.test(status);

export const parse = (text) => {
  try {
    return JSON.parse(text);
  } catch {}
};

/** An id is `<epoch>.<number>`; of "" the number is NaN, which is not below or above any. */
export const epoch = (id) => id.split(".")[0];
export const number = (id) => Number(id.split(".")[1]);

export function toEvent(id = "", raw) {
  const { message_id: messageId = "", ...event } = parse(raw) ?? {};
  return { id, ...event, messageId, raw };
}

/** A page of GET /api/events as the blocks that a stream would have sent. */
export function toFrames({ gap, events, next }) {
  const frames = events.map(({ id, ...event }) => ({ id, data: JSON.stringify(event) }));
  if (gap) frames.unshift({ id: gap.resumed, event: "gap", data: JSON.stringify(gap) });
  return [...frames, { id: next }];
}

/** Tells whether a channel is among channels and patterns (`*` one segment, `>` the rest). */
export function matcher(patterns) {
  const sources = [...patterns].map((pattern) =>
    pattern.replace(/[^\w-]/g, (mark) => ({ "*": "[^.]+", ">": ".+" })[mark] ?? `\\${mark}`),
  );
  const expression = RegExp(`^(${sources.join("|")})$`);
  return (channel) => channel === undefined || expression.test(channel);
}
