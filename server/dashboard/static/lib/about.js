// What the server says of itself and of the reader: `/api/page`, `/readyz`, the session.

import { call } from "./api.js";
import { createStore } from "./store.js";

export function createAbout() {
  const page = createStore({ demo: false, metrics: false, uploads: [], version: "" });
  const server = createStore({ mode: "" });
  // undefined: not asked yet; null: nobody is signed in.
  const user = createStore(undefined);
  // The browser's tabs share the cookie, so what one of them changes of it concerns all.
  const tabs = new BroadcastChannel("tailrace reader");
  tabs.onmessage = () => refreshReader();

  let asked = 0;

  async function refreshReader() {
    const own = (asked += 1);
    const [info, session] = await Promise.all([
      call("GET", "/api/page"),
      call("GET", "/api/auth/get-session"),
    ]);
    if (own !== asked) return; // asked anew meanwhile: this may be who it was before
    if (info.ok && info.data && !same(info.data, page.get())) page.set(info.data);
    if (session.ok) {
      const next = session.data?.user ?? null;
      if (!same(next, user.get())) user.set(next);
    } else if (user.get() === undefined) user.set(null);
  }

  return {
    page,
    server,
    user,

    async refreshServer() {
      // A server that is not ready answers 503 and still says why.
      const answer = await call("GET", "/readyz");
      server.set({ mode: answer.data?.mode ?? "", ready: answer.ok });
    },

    refreshReader,

    /** Somebody has signed in or out in this tab: all tabs look who it is. */
    changeReader() {
      tabs.postMessage("");
      return refreshReader();
    },
  };
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
