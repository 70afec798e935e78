// The delivery that is open: whole, as the API tells it, and anew whenever an event names it.

import { call } from "../../lib/api.js";
import { sentence } from "../../lib/sentence.js";
import { createStore } from "../../lib/store.js";

export const apiOf = (id) => `/api/webhooks/deliveries/${encodeURIComponent(id)}`;

export function createOne() {
  const view = createStore({ delivery: null, error: "" });
  let id = "";
  let busy = false;
  let again = false;

  async function load() {
    if (!id) return;
    if (busy) {
      again = true;
      return;
    }
    const wanted = id;
    busy = true;
    const answer = await call("GET", apiOf(wanted));
    busy = false;
    if (wanted === id) {
      if (answer.ok) view.set({ delivery: answer.data, error: "" });
      else view.set({ delivery: answer.status === 404 ? null : view.get().delivery, error: sentence(answer) });
    }
    if (again || wanted !== id) {
      again = false;
      load();
    }
  }

  return {
    view,
    load,

    show(next) {
      if (next === id) return;
      id = next;
      view.set({ delivery: null, error: "" });
      load();
    },

    note(told) {
      if (told?.id === id) load();
    },
  };
}
