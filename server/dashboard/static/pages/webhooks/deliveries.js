// The newest deliveries that fit a filter: the list at first and after a gap, events from then on.
//
// Under a flood an event costs a few map operations; sorting and drawing happen at a bearable pace,
// and what no longer has a place is dropped and said.

import { call } from "../../lib/api.js";
import { paced } from "../../lib/schedule.js";
import { sentence } from "../../lib/sentence.js";
import { createStore } from "../../lib/store.js";
import { fits, queryOf, same } from "./filter.js";

const API = "/api/webhooks/deliveries";
const STEP = 100; // rows; the most of one page of the API
export const MOST = 500;
const MOST_NEWS = 10_000;
const FLOOD = 20; // new rows in one redraw
const FIRST_LIVE = 1e15; // behind every `seq` that a list can name

export function createDeliveries(first) {
  const rows = new Map();
  const touched = new Set(); // what events told of while a list was under way: newer than the list
  const news = new Set(); // what a search by text cannot judge, or what came while the list is held
  let filter = first;
  let limit = STEP;
  let live = FIRST_LIVE;
  let state = { loaded: false, busy: false, error: "", older: false };
  let held = null;
  let heard = false;
  let churn = 0;
  let asked = 0;

  const view = createStore(snapshot());
  const redraw = paced(
    () => {
      view.set(snapshot());
      churn = 0;
    },
    { least: () => (view.get().churn > FLOOD ? 250 : 0) },
  );

  function snapshot() {
    const common = { ...state, churn, limit, waiting: news.size, held: Boolean(held) };
    if (held) return { ...common, rows: held.map((row) => rows.get(row.id) ?? row) };
    for (const [id, row] of rows) if (!row.fits) rows.delete(id);
    const sorted = newest();
    return { ...common, rows: sorted.slice(0, limit), older: state.older || sorted.length > limit };
  }

  function newest() {
    return [...rows.values()].sort((a, b) => b.at - a.at || b.order - a.order);
  }

  function cut() {
    for (const { id } of newest().slice(limit)) rows.delete(id);
    state = { ...state, older: true };
  }

  /** Older than all that is shown, while others lie between: a row there would hide that. */
  function beyond(at) {
    return state.older && view.get().rows.every((row) => row.at > at);
  }

  async function load() {
    const own = (asked += 1);
    touched.clear();
    state = { ...state, busy: true };
    redraw();
    const listed = [];
    let after = "";
    do {
      const query = queryOf(filter, { limit: STEP, after });
      const answer = await call("GET", `${API}?${query}`);
      if (own !== asked) return;
      if (!answer.ok) {
        state = { ...state, busy: false, error: sentence(answer) };
        return redraw();
      }
      listed.push(...answer.data.deliveries);
      after = answer.data.next;
    } while (after && listed.length < limit);
    for (const id of rows.keys()) if (!touched.has(id)) rows.delete(id);
    for (const row of listed) if (!touched.has(row.id)) rows.set(row.id, fromList(row));
    news.clear();
    if (held) held = newest().slice(0, limit);
    state = { loaded: true, busy: false, error: "", older: Boolean(after) };
    redraw();
  }

  return {
    view,
    load,

    /** The channel is heard now: what was there before, the list tells. A later connection resumes
     * where this one stopped. */
    begin() {
      if (!heard) load();
      heard = true;
    },

    /** Another filter begins anew. */
    filter(next) {
      if (same(filter, next)) return;
      filter = next;
      limit = STEP;
      held = held && [];
      rows.clear();
      news.clear();
      state = { ...state, loaded: false, older: false, error: "" };
      load();
    },

    more() {
      limit = Math.min(MOST, limit + STEP);
      load();
    },

    /** What is on the screen keeps its place; its states still change. */
    hold(on) {
      if (on === Boolean(held)) return;
      held = on ? view.get().rows : null;
      if (!on && !filter.q) news.clear();
      redraw();
    },

    /** An event of the channel. */
    note({ type, data: told }) {
      if (typeof told?.id !== "string") return;
      if (state.busy) touched.add(told.id);
      const known = rows.get(told.id);
      if (known) {
        const row = { ...known, ...fromEvent(told) };
        rows.set(told.id, { ...row, fits: fits(row, filter) });
      } else {
        const row = { ...fromEvent(told), order: (live += 1), fits: true };
        if (!fits(row, filter)) return;
        const isOld = type !== "webhook.received" && beyond(row.at);
        if (!isOld && (held || filter.q) && news.size < MOST_NEWS) news.add(row.id);
        if (isOld || filter.q) return redraw();
        rows.set(row.id, row);
        churn += 1;
        if (rows.size > 2 * limit && !held) cut();
        else if (rows.size > 2 * MOST) cut();
      }
      redraw();
    },
  };
}

function fromList(row) {
  return { ...row, at: Date.parse(row.receivedAt), order: Number(row.seq), fits: true };
}

function fromEvent({ id, source, type, key, state, attempts, error, received_at: receivedAt, due_at: dueAt }) {
  return { id, source, type, key, state, attempts, error, receivedAt, dueAt, at: Date.parse(receivedAt) };
}
