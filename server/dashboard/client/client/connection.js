// One connection to the server, opened again whenever it ends, for ever: as a stream, or by long
// polls where something on the way holds streams back. Below it the wire: how a stream is read
// (WHATWG HTML 9.2.6), what is asked of the server, and what answers and blocks mean
// (docs/streams.md). One module, as two would be compressed apart: that costs 240 bytes.

/** Milliseconds; tests shorten them. */
const TIMES = {
  // Until the server tells, and at most between two tries.
  retry: 1000,
  most: 30_000,
  // Until `ready`, and of silence however short the heartbeat is.
  open: 30_000,
  least: 1000,
  // Without `ready` until it is asked whether streams get through; then until they are tried again.
  probe: 4000,
  again: 300_000,
  // Of a long poll.
  wait: 25_000,
};

/** `onCaughtUp`: read what is there by pages, and call it instead of waiting for more. */
export function createConnection(options, { onFrames, onStatus, onCaughtUp }) {
  const times = { ...TIMES, ...options.times };
  const want = { channels: [] };
  // What belongs to an older turn has been replaced, and may not speak.
  let turn = 0;
  let failures = 0;
  let polling = !!onCaughtUp;
  let { retry, again } = times;
  let streamAt, cut, wake, watch, renewal, probing, token, renewAt, live, reason, heard, limit;

  const tell = (state, more) => onStatus({ state, transport: polling ? "poll" : "stream", ...more });

  /** `told`: by the server, to all that it has too many of; only who insists cuts that short. */
  const pause = (ms, told) =>
    new Promise((resolve) => {
      clearTimeout(watch);
      wake = (now = !told) => now && resolve();
      // A timer of more fires at once.
      watch = setTimeout(resolve, Math.min(ms, 2 ** 31 - 1));
    });

  /** A dead connection tells nothing: it is known by its silence. */
  function listen(most) {
    limit = most;
    wake = undefined;
    heard = Date.now();
    clearTimeout(watch);
    const look = () => {
      const left = heard + limit - Date.now();
      if (left > 0) watch = setTimeout(look, left);
      else cut.abort(Error("Silence"));
    };
    look();
  }

  function take(frames) {
    for (const { id, event, data } of frames) {
      want.position = id ?? want.position;
      if (event === "bye") reason = parse(data)?.reason;
      else if (!live) {
        live = true;
        failures = 0;
        clearInterval(probing);
        if (!polling) {
          again = times.again;
          listen(Math.max(2500 * (parse(data)?.heartbeat ?? 60), times.least));
        }
        tell("live");
      }
    }
    onFrames(frames);
  }

  async function renew() {
    token = await options.token();
    const life = token.expiresIn * 1000;
    // NaN without `expiresIn`: never.
    renewAt = Date.now() + life - Math.min(60_000, life / 5);
  }

  async function request(path, more) {
    const { signal } = cut;
    if (options.token) {
      if (!token || Date.now() > renewAt) await renew();
      signal.throwIfAborted();
      clearTimeout(renewal);
      // The old connection goes on until there is a new token; without one, until it is ended.
      const replace = () => renew().then(() => signal.aborted || open({}, true), () => {});
      const left = renewAt - Date.now();
      if (left > 0 && left < 2 ** 31) renewal = setTimeout(replace, left);
    }
    return judge(await ask(options, path, { ...want, ...more }, token, signal));
  }

  /** No `ready`, though plain answers come at once: a proxy waits for the stream's end. */
  async function probe() {
    const asked = Date.now();
    await request("events", { limit: 1 });
    if (live || Date.now() > asked + times.probe) return;
    polling = true;
    streamAt = Date.now() + again;
    again *= 2;
    cut.abort();
  }

  async function stream(own) {
    probing = setInterval(() => probe().catch(() => {}), times.probe);
    const answer = await request("stream");
    const type = answer.headers.get("Content-Type");
    if (!/^text\/event-stream/.test(type)) throw Error(`No event stream but ${type}`);
    const reader = answer.body.getReader();
    const parser = createParser();
    for (;;) {
      const { done, value } = await reader.read();
      if (done || own !== turn) return;
      heard = Date.now();
      const frames = parser.push(value);
      retry = parser.retry ?? retry;
      if (frames.length) take(frames);
    }
  }

  async function poll(own) {
    while (own === turn) {
      const asked = Date.now();
      if (asked > streamAt) return (polling = false);
      // Without a position what comes before a second try would be lost: the first does not wait.
      const wait = want.position && !onCaughtUp ? times.wait / 1000 : 0;
      listen(times.open + times.wait);
      const page = await (await request("events", { wait, limit: 1000 })).json();
      if (own !== turn) return;
      take(toFrames(page));
      if (page.events.length) continue;
      if (onCaughtUp) return onCaughtUp();
      // Over a limit of the server it is answered at once.
      if (wait && Date.now() - asked < times.wait / 2) await pause(retry);
    }
  }

  async function run(own) {
    let renewed;
    while (own === turn) {
      const was = polling;
      let fault = {};
      cut = new AbortController();
      live = reason = undefined;
      listen(times.open);
      try {
        // Whatever does not end, like a token that never comes, is left behind.
        const { signal } = cut;
        const aborted = new Promise((_, fail) => (signal.onabort = () => fail(signal.reason)));
        await Promise.race([(polling ? poll : stream)(own), aborted]);
      } catch (error) {
        fault = failure(error);
      }
      if (own !== turn) return;
      hush();
      if (was !== polling) continue;
      if (live) renewed = false;
      if (fault.problem?.status === 401 && options.token && !renewed) {
        renewed = true;
        token = undefined;
        continue;
      }
      // Who asks for several may find that it is not so.
      if (fault.final) fault = await tell("ended", { error: fault.problem });
      if (own !== turn || !fault) return;
      const { problem, after = 0 } = fault;
      let wait = Math.max(retry, 100);
      // What was told is already spread over time, by the server.
      if (!live && !reason) {
        const grown = Math.min(times.most, wait * 2 ** failures++);
        wait = Math.max(wait, grown) * (1 + Math.random() / 3);
      }
      // Many may have been told the same.
      wait += after;
      tell("reconnecting", { error: problem, reason, until: Date.now() + wait });
      await pause(wait, after || reason === "overload");
    }
  }

  function hush() {
    limit = Infinity;
    cut?.abort();
    clearTimeout(watch);
    clearTimeout(renewal);
    clearInterval(probing);
  }

  function stop() {
    turn++;
    hush();
  }

  function open(next, quietly) {
    stop();
    Object.assign(want, next);
    failures = 0;
    if (!quietly) tell("connecting");
    run(turn);
  }

  return {
    open,
    stop,
    /** The network is back, or somebody looks; `now`: or insists. */
    wake(now) {
      wake ? wake(now) : Date.now() > heard + limit && open({}, true);
    },
  };
}

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

// A good answer; else throws its `problem`, and in how many ms to come back `after`, if that is not
// `final`: asking again cannot help. 204 is HTTP's word for "do not come back" (HTML 9.2.3).
export async function judge(answer) {
  const { status, statusText, headers } = answer;
  if (answer.ok && status !== 204) return answer;
  const problem = await answer.json().catch(() => {});
  const later = headers.get("Retry-After");
  const after = later > 0 ? later * 1000 : Math.max(Date.parse(later) - Date.now(), 0) || 0;
  const final = /^(204|4(?!08|25|29)..)$/.test(status);
  throw { problem: { error: statusText, ...problem, status }, after, final };
}

/** What is known of an error, be it of `judge` or not. */
export function failure(error) {
  return { problem: { status: 0, error: String(error?.message ?? error) }, ...error };
}

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
function toFrames({ gap, events, next }) {
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
