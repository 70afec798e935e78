// One connection to the server, opened again whenever it ends, for ever: as a stream, or by long
// polls where something on the way holds streams back.

import { ask, createParser, isFinal, judge, parse, toFrames } from "./wire.js";

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

  async function pause(ms) {
    await new Promise((resolve) => {
      wake = resolve;
      setTimeout(resolve, ms);
    });
    wake = undefined;
  }

  /** A dead connection tells nothing: it is known by its silence. */
  function listen(most) {
    limit = most;
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
      if (left < 2 ** 31) renewal = setTimeout(replace, left);
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
      let problem, after;
      cut = new AbortController();
      live = reason = undefined;
      listen(times.open);
      try {
        await (polling ? poll : stream)(own);
      } catch (error) {
        ({ problem = { status: 0, error: String(error.message) }, after } = error);
      }
      if (own !== turn) return;
      hush();
      if (was !== polling) continue;
      if (live) renewed = false;
      if (problem?.status === 401 && options.token && !renewed) {
        renewed = true;
        token = undefined;
        continue;
      }
      if (isFinal(problem?.status)) return tell("ended", { error: problem });
      let wait = retry;
      // What was told is already spread over time, by the server.
      if (!live && !reason)
        wait = Math.min(times.most, retry * 2 ** failures++) * (0.5 + Math.random() / 2);
      wait = Math.max(wait, after || 100);
      tell("reconnecting", { error: problem, reason, until: Date.now() + wait });
      await pause(wait);
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
    wake?.();
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
    /** The network is back, or somebody looks. */
    wake() {
      wake ? wake() : Date.now() > heard + limit && open({}, true);
    },
  };
}
