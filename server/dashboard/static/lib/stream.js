// The one EventSource of the page: keeps its position over every way a connection can end.
//
// The browser itself reconnects after a cut or a `bye` and sends Last-Event-ID. Two cases are
// ours: a change of channels, and an answer other than 200, after which an EventSource is CLOSED
// for good. Both open a new one with `after=<last id>`.

import { streamPath } from "./channels.js";
import { createStore } from "./store.js";
import { whyRefused } from "./api.js";

// Asking again cannot help until somebody changes something: the channels, or who is signed in.
const FINAL = new Set([400, 401, 403, 404, 405]);
const LONGEST_WAIT = 30_000;

export function createStream({ onEvent, onGap, onReady }) {
  const status = createStore({ state: "connecting" });
  let source = null;
  let channels = [];
  let position = "";
  let failures = 0;
  let timer = 0;

  function open() {
    clearTimeout(timer);
    source?.close();
    const path = streamPath(channels, position);
    const own = new EventSource(path);
    source = own;

    const hear = (type, handle) =>
      own.addEventListener(type, (message) => {
        if (source !== own) return; // replaced while this was queued
        if (message.lastEventId) position = message.lastEventId;
        handle(message);
      });

    hear("message", onEvent);
    hear("ready", (message) => {
      failures = 0;
      status.set({ state: "live" });
      onReady(read(message));
    });
    hear("gap", (message) => onGap(read(message)));
    hear("bye", (message) => status.set({ state: "reconnecting", note: byeNote(read(message)) }));
    own.addEventListener("error", () => {
      if (source !== own) return;
      if (own.readyState === EventSource.CLOSED) refused(own, path);
      else status.set({ state: "reconnecting", note: status.get().note });
    });
  }

  async function refused(own, path) {
    status.set({ state: "reconnecting" });
    const answer = await whyRefused(path);
    if (source !== own) return;
    if (FINAL.has(answer.status)) {
      status.set({ state: "ended", status: answer.status, ...answer });
      return;
    }
    // Jittered, so that a thousand open pages do not come back in the same second.
    const wait = Math.min(LONGEST_WAIT, 1000 * 2 ** failures) * (0.5 + Math.random() / 2);
    failures = Math.min(failures + 1, 10);
    const note = answer.ok ? "" : answer.error;
    status.set({ state: "reconnecting", note, until: Date.now() + wait });
    timer = setTimeout(open, wait);
  }

  const retry = () => {
    failures = 0;
    status.set({ state: "connecting" });
    open();
  };

  // The reader is back, or the network is: what ended may work now (somebody signed in).
  const again = () => {
    const { state, until } = status.get();
    if (document.visibilityState === "visible" && (state === "ended" || until)) retry();
  };
  addEventListener("online", again);
  document.addEventListener("visibilitychange", again);

  return {
    status,
    retry,
    position: () => position,

    /** Listen to these channels from now on, from where the stream stands. */
    listen(next) {
      channels = next;
      retry();
    },
  };
}

function read(message) {
  try {
    return JSON.parse(message.data) ?? {};
  } catch {
    return {};
  }
}

function byeNote({ reason }) {
  const notes = {
    shutdown: "the server is restarting",
    "max-age": "routine renewal",
    expired: "the permission has expired",
    revoked: "the permission was taken back",
    overload: "the server is full",
  };
  return notes[reason] ?? "";
}
