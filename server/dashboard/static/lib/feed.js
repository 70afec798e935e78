// The recent events as the list shows them: filtered, held still while somebody reads, redrawn at
// a bearable pace. What is not kept is counted, and the count is shown.

import { matches } from "./channels.js";
import { Ring } from "./ring.js";
import { paced } from "./schedule.js";
import { createStore } from "./store.js";

const FLOOD = 20; // new rows in one redraw; beyond it nobody can read along

export function createFeed() {
  let all = new Ring();
  let shown = all; // the same ring, or with a filter one of its own: a flood must not push out what is rare
  let number = 0;
  let total = 0; // events since the last clear
  let passed = 0; // those of them that the filter let through
  let filter = { text: "", test: () => true };
  let held = null; // the view that stays while the reader looks at it
  let churn = 0; // new rows since the last redraw

  const view = createStore(snapshot());
  const redraw = paced(
    () => {
      view.set(snapshot());
      churn = 0;
    },
    // Under a flood a calmer list is worth more than a newer one.
    { least: () => (view.get().churn > FLOOD ? 200 : 0) },
  );

  function snapshot() {
    const common = { filter: filter.text, filteredOut: total - passed, churn };
    if (held) return { ...held, ...common, held: true, waiting: passed - held.passed };
    const rows = shown.newest();
    const events = rows.reduce((sum, row) => sum + isEvent(row), 0);
    return { rows, passed, older: passed - events, held: false, waiting: 0, ...common };
  }

  function keep(row) {
    churn += 1;
    all.add(row);
    if (shown !== all && filter.test(row)) shown.add(row);
  }

  return {
    view,

    event(fields) {
      const row = { kind: "event", number: (number += 1), ...fields };
      total += 1;
      if (filter.test(row)) passed += 1;
      keep(row);
      redraw();
    },

    gap(fields) {
      keep({ kind: "gap", number: (number += 1), raw: "", ...fields });
      redraw();
    },

    hold(on) {
      if (on === Boolean(held)) return;
      held = on ? view.get() : null;
      redraw();
    },

    /** From now on count what matches; what is still kept of the past counts as well. */
    filter(text) {
      const wanted = text.trim();
      filter = { text: wanted, test: tester(wanted) };
      shown = wanted ? all.where(filter.test) : all;
      if (!wanted) passed = total;
      else {
        total = all.newest().reduce((sum, row) => sum + isEvent(row), 0);
        passed = shown.newest().reduce((sum, row) => sum + isEvent(row), 0);
      }
      held = held && { ...held, rows: held.rows.filter(filter.test), passed };
      redraw();
    },

    clear() {
      all = new Ring();
      shown = filter.text ? new Ring() : all;
      total = passed = 0;
      held = null;
      redraw();
    },
  };
}

const isEvent = (row) => Number(row.kind === "event");

/** A pattern when it looks like one, otherwise any part of the name. Gaps concern every channel. */
function tester(text) {
  const wanted = text.toLowerCase();
  const fits = /[*>]/.test(wanted)
    ? (channel) => matches(wanted, channel)
    : (channel) => channel.includes(wanted);
  return (row) => row.kind === "gap" || fits(row.channel.toLowerCase());
}
