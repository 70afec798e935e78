// How many deliveries there are, by source and state, and the sources themselves. Asked for when
// events say that something changed, and no oftener than the answer is worth.

import { call } from "../../lib/api.js";
import { sentence } from "../../lib/sentence.js";
import { createStore } from "../../lib/store.js";

const CALM = 1_000; // between two counts
const SHARE = 20; // a count that took 300 ms is followed by at least 6 s without one

export function createCounts() {
  return asked("/api/webhooks/summary", { sources: [], since: null, complete: true }, CALM);
}

export function createSources() {
  return asked("/api/webhooks/sources", { sources: [] }, 0);
}

function asked(path, nothing, calm) {
  const view = createStore({ ...nothing, loaded: false, error: "" });
  let notBefore = 0;
  let busy = false;
  let again = false;
  let timer = 0;

  async function load() {
    clearTimeout(timer);
    timer = 0;
    busy = true;
    again = false;
    const start = performance.now();
    const answer = await call("GET", path);
    busy = false;
    const now = performance.now();
    notBefore = now + (calm && Math.max(calm, (now - start) * SHARE));
    if (answer.ok) view.set({ ...answer.data, loaded: true, error: "" });
    else view.set({ ...view.get(), error: sentence(answer) });
    if (again) soon();
  }

  function soon() {
    again = true;
    // A tab that nobody looks at asks once it is seen again.
    if (busy || timer || document.visibilityState !== "visible") return;
    timer = setTimeout(load, Math.max(0, notBefore - performance.now()));
  }

  const seen = () => again && soon();
  document.addEventListener("visibilitychange", seen);

  return {
    view,
    soon,
    load,
    stop() {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
    },
  };
}
