// Tailrace's browser client: `connect()`. See client.d.ts beside it and docs/clients.md.

import { createConnection, epoch, matcher, number, parse, toEvent } from "./client/connection.js";
import { share } from "./client/share.js";

/** Events that may wait here; what is more waits in the server's log. */
const MOST = 10_000;

export function connect({
  channels,
  after,
  rewind,
  since,
  onEvent,
  onStatus,
  onGap,
  onFrame,
  refetch,
  shared: group,
  ...asked
}) {
  const { url } = asked;
  asked.url = new URL(url ?? "/api/stream", url ? globalThis.location : import.meta.url).href;
  const wanted = new Set(channels);
  let matches = matcher(wanted);
  // What has come; `position` is what was given out.
  let seen = /^\w{8}\.\d+$/.test(after) ? after : "";
  let position = seen;
  const start = { after, rewind, since: since?.toISOString?.() ?? since };
  // Where the connection stands: behind `seen`, if it is shared and somebody needs older events.
  let upstream;
  let status = { state: "connecting", transport: "stream", shared: false };
  let queue = [];
  // With nobody else to take them, events wait for a loop.
  const taken = onEvent || onFrame;
  let closed, changing, held, behind, looping, next, shared;

  function setStatus(told) {
    if (closed || JSON.stringify(told) === JSON.stringify(status)) return;
    status = told;
    tell(onStatus, status);
    settle();
  }

  function take(frames) {
    for (const frame of frames) {
      if (!closed) tell(onFrame, frame);
      if (closed) return;
      if (behind) continue;
      read(frame);
      behind = queue.length > MOST;
      if (behind) source.stop();
    }
    pump();
  }

  function read({ id, event = "message", data }) {
    if (event === "gap") {
      const gap = parse(data);
      upstream = number(id);
      // It need not be this one's: a shared connection may have resumed further back for others.
      if (epoch(id) !== epoch(seen) || upstream > number(seen) || gap.reason === "ahead") miss(gap);
      return;
    }
    if (id) {
      const reached = number(id);
      const stood = event === "ready" ? reached : upstream;
      // A new epoch keeps the numbers up to where it began. Who is ahead of the connection cannot
      // know whether that is behind what he has.
      if (epoch(id) !== epoch(seen) && number(seen) > stood)
        miss({ after: seen, resumed: `${epoch(id)}.${stood}`, reason: "epoch" });
      upstream = reached;
      if (reached <= number(seen)) return;
      seen = id;
    }
    const made = event === "message" && data !== undefined && toEvent(id, data);
    if (made && matches(made.channel)) queue.push({ id, event: made });
    else if (id) queue.push({ id });
  }

  /** Events behind `seen` are missing, and those after `resumed` come. */
  function miss(gap) {
    seen = gap.resumed;
    queue.push({ id: seen, gap });
  }

  function pump() {
    while (queue.length && !held && (next || (taken && !looping))) {
      const { id, event, gap } = queue.shift();
      if (gap && refetch) hold(gap);
      else position = id || position;
      if (gap) tell(onGap, gap);
      if (!event) continue;
      next?.(event);
      next = undefined;
      tell(onEvent, event);
    }
    if (queue.length) return;
    if (behind) open((behind = false));
    settle();
  }

  async function hold(gap) {
    held = true;
    for (let wait = 500; !closed; wait = Math.min(2 * wait, 30_000)) {
      try {
        await refetch(gap);
        break;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
    position = gap.resumed;
    held = false;
    pump();
  }

  /** A loop ends when nothing can come any more. */
  function settle() {
    const { state, error } = status;
    if (!next || (!closed && state !== "ended") || queue.length) return;
    looping = false;
    next(closed ? undefined : Promise.reject(Object.assign(Error(error.error), error)));
    next = undefined;
  }

  function open() {
    if (closed || behind) return;
    if (wanted.size) source.open({ channels: [...wanted], position: seen, start });
    else source.stop();
  }

  function change(method, names) {
    const before = wanted.size;
    for (const name of names) wanted[method](name);
    if (wanted.size === before) return;
    matches = matcher(wanted);
    clearTimeout(changing);
    changing = setTimeout(open);
  }

  const alone = (onCaughtUp) =>
    createConnection(asked, {
      onCaughtUp,
      onFrames: take,
      onStatus: (told) => (onCaughtUp && !told.error) || setStatus({ ...told, shared: false }),
    });

  function use(next) {
    source.stop();
    source = next;
    open();
  }

  let source = alone();
  if (group && globalThis.navigator?.locks)
    source = shared = share(asked, group, {
      onFrames: take,
      onStatus: setStatus,
      onOpen: open,
      onAlone: () => use(alone()),
      onStart: () => use(alone(() => use(shared))),
    });

  // A worker and Node.js have no document.
  const { document } = globalThis;
  const look = () => document?.hidden || source.wake();
  const ears = new AbortController();
  globalThis.addEventListener?.("online", look, ears);
  document?.addEventListener("visibilitychange", look, ears);
  open();

  return {
    get position() {
      return position;
    },
    get status() {
      return status;
    },
    get channels() {
      return [...wanted];
    },
    add: (...names) => change("add", names),
    remove: (...names) => change("delete", names),
    // Who shares and has not been turned away is joined already: to join anew would leave out what
    // is on its way here, and everybody's connection would be opened again for that.
    retry: () => (source === shared && status.state !== "ended" ? shared.retry() : open()),
    close() {
      closed = true;
      queue = [];
      source.stop();
      shared?.close();
      ears.abort();
      settle();
    },
    [Symbol.asyncIterator]: () => ({
      async next() {
        looping = true;
        const value = await new Promise((resolve) => {
          next = resolve;
          pump();
        });
        return { value, done: !value };
      },
      async return() {
        looping = false;
        next?.();
        next = undefined;
        pump();
        return { done: true };
      },
    }),
  };
}

/** A callback that throws must not cost anybody the events behind it. */
function tell(callback, value) {
  try {
    callback?.(value);
  } catch (error) {
    setTimeout(() => {
      throw error;
    });
  }
}
