// The list of open streams, and the channels with the most of them. Asked for again when the server
// says that they have changed, at a bearable pace, and not while nobody looks; never by a clock. While
// only positions move, the channels stay as they are and are not asked for.

import { call } from "../../lib/api.js";
import { sentence } from "../../lib/sentence.js";
import { createStore } from "../../lib/store.js";

const SOON = 1_500; // ms between two requests, when streams came or went
const CALM = 5_000; // when only positions have moved
const FEW = 100;
const MOST = 1_000; // as the server has it
const CHANNELS = "/api/channels?limit=12";

export function createCrowd() {
  const view = createStore({
    streams: [], total: 0, processes: [], complete: true, loaded: false, error: "", at: 0,
    channels: { channels: [], total: 0, complete: true, loaded: false },
  });
  const told = new Map(); // process → what it has last said
  const ended = new Set(); // by us: they may be in the list for another moment
  let filter = {};
  let heard = false;
  let limit = FEW;
  let asked = 0;
  let busy = false;
  let last = -Infinity; // when the list was asked for
  let timer = 0;
  let due = Infinity;
  let missed = false; // something has changed while nobody looked
  let whole = false; // streams came or went: their channels, too, are to be asked for

  function load() {
    whole = true;
    return ask();
  }

  async function ask() {
    clearTimeout(timer);
    due = Infinity;
    missed = false;
    const own = (asked += 1);
    busy = true;
    last = performance.now();
    const query = new URLSearchParams(Object.entries({ ...filter, limit }).filter(([, value]) => value));
    const requests = [call("GET", `/api/streams?${query}`), whole && call("GET", CHANNELS)];
    whole = false;
    const [list, channels] = await Promise.all(requests);
    if (own !== asked) return; // asked anew meanwhile, or nobody looks any more
    busy = false;
    const next = { ...view.get(), error: "" };
    if (list.ok) {
      for (const id of [...ended]) if (!list.data.streams.some((each) => each.id === id)) ended.delete(id);
      const streams = list.data.streams.filter(({ id }) => !ended.has(id));
      const { total, processes, complete } = list.data;
      Object.assign(next, { streams, processes, complete, total: total - ended.size, loaded: true, at: Date.now() });
    } else next.error = sentence(list);
    if (channels.ok) next.channels = { ...channels.data, loaded: true };
    else if (channels) whole = true;
    view.set(next);
    if (missed) want(whole ? SOON : CALM);
  }

  function want(pause) {
    if (busy || document.visibilityState !== "visible") {
      missed = true;
      return;
    }
    const at = Math.max(performance.now(), last + pause);
    if (at >= due) return;
    clearTimeout(timer);
    due = at;
    timer = setTimeout(ask, at - performance.now());
  }

  const look = () => {
    if (document.visibilityState === "visible" && missed) want(SOON);
  };
  document.addEventListener("visibilitychange", look);

  return {
    view,
    load,

    /** News of a process. */
    note(news) {
      const before = told.get(news.process);
      told.set(news.process, news);
      const same = before && ["open", "opened", "lagging"].every((name) => before[name] === news[name]);
      whole ||= !same;
      want(same ? CALM : SOON);
    },

    /** The news are heard: from now on what the list tells can be kept right. */
    begin() {
      heard = true;
      load();
    },

    filter(next) {
      filter = next;
      limit = FEW;
      if (heard) load();
    },

    more() {
      limit = MOST;
      return load();
    },

    /** End a stream; why it could not be done, or "". */
    async end(id) {
      const answer = await call("DELETE", `/api/streams/${encodeURIComponent(id)}`);
      if (!answer.ok && answer.status !== 404) return sentence(answer);
      ended.add(id);
      const now = view.get();
      const streams = now.streams.filter((each) => each.id !== id);
      if (streams.length < now.streams.length) view.set({ ...now, streams, total: now.total - 1 });
      return "";
    },

    close() {
      asked += 1;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", look);
    },
  };
}
