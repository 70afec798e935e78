// The signed-in reader's notifications: a second, small stream.
//
// Its first message holds everything that is unread, so it can be closed while the tab is hidden
// and lose nothing; that leaves more of the six connections a browser has per server over HTTP/1.1.

import { createStore } from "./store.js";

const PATH = "/api/notifications/stream";
const LONGEST_WAIT = 60_000;

export function createNotices({ onRefused }) {
  const unread = createStore([]);
  let wanted = false;
  let source = null;
  let failures = 0;
  let timer = 0;

  function open() {
    close();
    if (!wanted || document.visibilityState !== "visible") return;
    const own = new EventSource(PATH);
    source = own;
    own.onmessage = ({ data }) => {
      failures = 0;
      const message = parse(data);
      if (message?.type === "notifications" && Array.isArray(message.data)) unread.set(message.data);
    };
    own.onerror = () => {
      if (source !== own || own.readyState !== EventSource.CLOSED) return;
      // Refused: the session has probably ended. Ask who is signed in, then try again calmly.
      onRefused();
      const wait = Math.min(LONGEST_WAIT, 2000 * 2 ** failures) * (0.5 + Math.random() / 2);
      failures = Math.min(failures + 1, 10);
      timer = setTimeout(open, wait);
    };
  }

  function close() {
    clearTimeout(timer);
    source?.close();
    source = null;
  }

  document.addEventListener("visibilitychange", open);

  return {
    unread,
    listen(on) {
      if (on === wanted) return;
      wanted = on;
      failures = 0;
      if (!on) unread.set([]);
      open();
    },
  };
}

function parse(data) {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}
