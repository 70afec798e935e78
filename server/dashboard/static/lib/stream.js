// The page's streams: all of them, in all tabs, over one connection of the browser (/client.js).

import { connect } from "../../client.js";
import { createStore } from "./store.js";

/** Counts up when the server ends or refuses a stream of this page for what its reader is: the session
 * may be over, or the role taken away. Several end at once; one look at the reader does for all. */
export const refusals = createStore(0);

const TOGETHER = 50; // ms
const OVER = ["revoked", "expired"];
let timer = 0;

function refuse() {
  clearTimeout(timer);
  timer = setTimeout(() => refusals.set(refusals.get() + 1), TOGETHER);
}

export function createStream({ onEvent, onGap = () => {}, onReady = () => {} }) {
  const status = createStore({ state: "connecting" });
  let stream = null;

  function note(told) {
    const before = status.get().state;
    status.set(statusOf(told));
    if (told.state === "ended" || OVER.includes(told.reason)) refuse();
    if (told.state === "live" && before !== "live") onReady();
  }

  // The reader is back, or the network is: what ended may work now (somebody signed in).
  const again = () => {
    if (document.visibilityState === "visible" && status.get().state === "ended") stream?.retry();
  };

  function close(state = "stopped") {
    stream?.close();
    stream = null;
    removeEventListener("online", again);
    document.removeEventListener("visibilitychange", again);
    status.set({ state });
  }

  return {
    status,
    retry: () => stream?.retry(),
    position: () => stream?.position ?? "",

    /** Listen to these channels from now on, from where the stream stands; or after this position
     * (empty: from the present). */
    listen(channels, { after = stream?.position ?? "" } = {}) {
      close("connecting");
      addEventListener("online", again);
      document.addEventListener("visibilitychange", again);
      stream = connect({ channels, after: after || undefined, shared: true, onEvent, onGap, onStatus: note });
    },

    /** Nothing comes any more, until `listen`; its position is forgotten. */
    close,
  };
}

function statusOf({ state, error, reason, until }) {
  if (state === "ended") return { state, ...error, issues: (error.issues ?? []).map(flat) };
  if (state === "reconnecting") return { state, reason, until, note: BYE[reason] ?? error?.error };
  return { state };
}

const flat = ({ path, message }) => ({ path: path.join("."), message });

const BYE = {
  shutdown: "the server is restarting",
  "max-age": "routine renewal",
  expired: "the permission has expired",
  revoked: "the permission was taken back",
  overload: "the server is full",
};
