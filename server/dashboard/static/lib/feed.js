// The recent events as the list shows them: filtered, held still while somebody reads, redrawn at
// a bearable pace. What is not kept is counted, and the count is shown.

import { matches } from "./channels.js";
import { dataAt } from "./frame.js";
import { KEEP, Ring } from "./ring.js";
import { paced } from "./schedule.js";
import { createStore } from "./store.js";

const FLOOD = 20; // new rows in one redraw; beyond it nobody can read along
const SHOWN = 200; // rows that are drawn; more when the reader asks for them
const GLIMPSE = 50; // under a flood: about what is on the screen
const NO_FILTER = { channel: "", text: "" };

export function createFeed() {
  let all = new Ring();
  let shown = all; // the same ring, or with a filter one of its own: a flood must not push out what is rare
  let number = 0;
  let total = 0; // events since the last clear
  let passed = 0; // those of them that the filter let through
  let filter = { ...NO_FILTER, on: false, test: () => true };
  let most = SHOWN;
  let held = null; // the view that stays while the reader looks at it
  let churn = 0; // new rows since the last redraw
  let drawn = { kept: [], passed: 0 };

  const view = createStore(snapshot());
  const redraw = paced(
    () => {
      drawn = held ?? { kept: shown.newest(), passed };
      const flood = isFlood();
      view.set(snapshot());
      churn = 0;
      if (flood) redraw(); // whole again as soon as it is over
    },
    // Under a flood a calmer list is worth more than a newer one.
    { least: () => (view.get().churn > FLOOD ? 200 : 0) },
  );

  /** Nobody can read along; less is drawn, for the moment. */
  function isFlood() {
    return !held && churn > FLOOD;
  }

  function snapshot() {
    const { channel, text, on } = filter;
    const common = { filter: { channel, text, on }, filteredOut: total - passed, churn };
    const kept = drawn.kept.reduce((sum, row) => sum + isEvent(row), 0);
    const flood = isFlood();
    return {
      ...common,
      rows: drawn.kept.slice(0, flood ? GLIMPSE : most),
      more: flood ? 0 : Math.max(0, drawn.kept.length - most),
      passed: drawn.passed,
      older: drawn.passed - kept,
      held: Boolean(held),
      waiting: passed - drawn.passed,
    };
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

    /** Something that is no event: what the server or this page has to say of the stream. */
    note(name, text) {
      keep({ kind: "note", number: (number += 1), raw: "", name, text, received: Date.now() });
      redraw();
    },

    hold(on) {
      if (on === Boolean(held)) return;
      held = on ? drawn : null; // what the reader sees, not what has come since
      if (!on) most = SHOWN;
      redraw();
    },

    /** Draw more of what is kept. */
    more() {
      most = Math.min(KEEP, most + SHOWN);
      redraw();
    },

    /** From now on count what matches; what is still kept of the past counts as well. */
    filter(wanted) {
      const channel = (wanted.channel ?? filter.channel).trim();
      const text = (wanted.text ?? filter.text).trim();
      const on = Boolean(channel || text);
      filter = { channel, text, on, test: tester(channel, text) };
      shown = on ? all.where(filter.test) : all;
      if (!on) passed = total;
      else {
        total = all.newest().reduce((sum, row) => sum + isEvent(row), 0);
        passed = shown.newest().reduce((sum, row) => sum + isEvent(row), 0);
      }
      held = held && { kept: held.kept.filter(filter.test), passed };
      redraw();
    },

    clear() {
      all = new Ring();
      shown = filter.on ? new Ring() : all;
      total = passed = 0;
      most = SHOWN;
      held = null;
      redraw();
    },
  };
}

const isEvent = (row) => Number(row.kind === "event");

/** What is no event concerns every channel. */
function tester(channel, text) {
  const ofChannel = channel ? channelTest(channel.toLowerCase()) : () => true;
  const ofText = text ? textTest(text) : () => true;
  return (row) => row.kind !== "event" || (ofChannel(row.channel) && ofText(row));
}

/** A pattern when it looks like one, otherwise any part of the name. */
function channelTest(wanted) {
  const fits = /[*>]/.test(wanted) ? (name) => matches(wanted, name) : (name) => name.includes(wanted);
  return (name) => fits(name.toLowerCase());
}

/** In type, key, or the text of the data; without a copy of it, thousands of times a second. */
function textTest(text) {
  const wanted = new RegExp(text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&"), "giu");
  const within = (where, from = 0) => {
    wanted.lastIndex = from;
    return wanted.test(where);
  };
  return ({ type, key, raw }) => within(type) || within(key) || within(raw, dataAt(raw));
}
