// A list of rows that is read once, page by page, and kept right by the events of its table.
//
// A page tells in `Stream-Position` the log's position at which it was read. Events that come while
// a page is under way are kept beside it: those behind that position are newer than the page and
// win, those before it are in the page already. So nothing is missed between the two, and nothing
// older overwrites what is newer, in whichever order they arrive.

import { call } from "./api.js";
import { paced } from "./schedule.js";
import { sentence } from "./sentence.js";
import { createStore } from "./store.js";

const MOST = 500; // rows that are kept of those that came by themselves
const UNKNOWN = { next: null, error: "", loaded: false, busy: false };

/** `path`, with a query: pages of the newest first, in the member `name`. `fromRow`: the same form
 * from a row of the table. `keeps`: whether a row belongs to this list. */
export function createLiveList({ path, name, fromRow, keeps = () => true }) {
  const view = createStore({ ...UNKNOWN, rows: [] });
  const rows = new Map();
  let state = UNKNOWN;
  let during = null; // key → event, while a page is under way: the last one tells the whole row
  let asked = 0;
  let most = MOST;

  const redraw = paced(() => view.set({ ...state, rows: [...rows.values()].sort(newestFirst) }));

  function apply({ key, type, data }) {
    const row = type !== "delete" && data?.new ? fromRow(data.new) : null;
    // Behind what was paged to: it comes with the page it stands on.
    const isKnown = rows.has(key) || state.next === null || isNewer(key, state.next);
    if (row && keeps(row) && isKnown) rows.set(key, row);
    else rows.delete(key);
  }

  function fill(listed, position, isFirst) {
    const later = [...during].filter(([, event]) => isLater(event.id, position));
    if (isFirst) rows.clear();
    for (const row of listed) rows.set(row.id, row);
    for (const [, event] of later) apply(event);
    most = Math.max(MOST, rows.size);
  }

  /** Under a flood the oldest are left to the next page again. */
  function trim() {
    if (during || rows.size <= 2 * most) return;
    const kept = [...rows.values()].sort(newestFirst).slice(0, most);
    rows.clear();
    for (const row of kept) rows.set(row.id, row);
    state = { ...state, next: kept.at(-1).id };
  }

  async function load(after = null) {
    const own = (asked += 1);
    during = new Map();
    state = { ...state, busy: true, error: "" };
    redraw();
    const answer = await call("GET", after ? `${path}&after=${encodeURIComponent(after)}` : path);
    if (own !== asked) return; // asked anew meanwhile, or of no use any more
    if (answer.ok) {
      state = { next: answer.data?.next ?? null, error: "", loaded: true, busy: false };
      fill(answer.data?.[name] ?? [], answer.position, !after);
    } else state = { ...state, error: sentence(answer), busy: false };
    during = null;
    redraw();
  }

  return {
    view,
    /** From its start: at first, and after a gap. */
    load: () => load(),
    more: () => state.next && load(state.next),

    /** An event of the table's channel. */
    note(event) {
      if (event.type === "truncate" || event.data?.truncated) return load();
      during?.set(event.key, event);
      apply(event);
      trim();
      redraw();
      return undefined;
    },

    clear() {
      asked += 1;
      during = null;
      rows.clear();
      state = UNKNOWN;
      view.set({ ...state, rows: [] });
    },
  };
}

/** Whether an event came after the page was read. Of another epoch: what is told live is later. */
function isLater(id, position) {
  const [epoch, at] = (position ?? "").split(".");
  const [own, place] = id.split(".");
  return own !== epoch || Number(place) > Number(at);
}

// Ids are numbers beyond what JavaScript counts exactly.
const isNewer = (a, b) => a.length > b.length || (a.length === b.length && a > b);
const newestFirst = (a, b) => (a.id === b.id ? 0 : isNewer(a.id, b.id) ? -1 : 1);
