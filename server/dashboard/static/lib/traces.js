// What each action of this tab did: the request, its answer, and the events of the log that it
// made. An event may be here before the request is answered; then it waits for the answer. One that
// no request of this tab asked for came from elsewhere, and is shown as that.

import { call } from "./api.js";
import { paced } from "./schedule.js";
import { createStore } from "./store.js";

const KEEP = 12;
const HELD = 200;

export function createTraces() {
  const view = createStore([]);
  let entries = []; // newest first
  let held = []; // events while a request is under way
  let open = 0;
  let number = 0;

  const redraw = paced(() => view.set(entries));

  function show() {
    entries = entries.slice(0, KEEP);
    redraw();
  }

  function change(id, next) {
    entries = entries.map((entry) => (entry.number === id ? { ...entry, ...next(entry) } : entry));
  }

  /** The request that this event is the effect of; else it came from elsewhere. */
  function place({ event, now }) {
    const own = entries.find((entry) => entry.wants?.(event) && entry.events < entry.awaited);
    if (own) change(own.number, ({ events, start }) => ({ events: events + 1, event, after: now - start }));
    else entries = [{ number: (number += 1), event, events: 1 }, ...entries];
  }

  function settle() {
    if (open) return;
    for (const each of held) place(each);
    held = [];
    show();
  }

  return {
    view,

    /** `effects(data)`: of a successful answer `[which events, how many]`. */
    async send(method, path, body, effects) {
      const entry = { number: (number += 1), method, path, start: performance.now(), events: 0, awaited: 0 };
      entries = [entry, ...entries];
      open += 1;
      show();
      const answer = await call(method, path, { body: body && JSON.stringify(body) });
      const [wants, awaited] = answer.ok ? effects(answer.data) : [null, 0];
      const took = performance.now() - entry.start;
      change(entry.number, () => ({ status: answer.status, error: answer.error, took, wants, awaited }));
      open -= 1;
      settle();
      return answer;
    },

    note(event) {
      held.push({ event, now: performance.now() });
      if (held.length > HELD) held.shift();
      settle();
    },

    clear() {
      entries = [];
      show();
    },
  };
}
