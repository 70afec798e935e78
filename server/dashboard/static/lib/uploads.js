// The reader's uploads, the same in every tab: what runs, as `upload.progress` tells it, and what is
// there, as the table's events tell it and, before them, the list.

import { call } from "./api.js";
import { sentence } from "./sentence.js";
import { createStore } from "./store.js";

const PATH = "/api/uploads";
const PAGE = `${PATH}?limit=60`;
const PROGRESS = "upload.progress";
const UNKNOWN = { next: null, error: "", loaded: false };

// How long a stage is believed without news, in ms. Progress is not repeated and not replayed: the
// end of a server that was killed is never told. A failure stands for a while, to be read.
const BELIEVED = { receiving: 60_000, checking: 900_000, failed: 8_000, ready: 8_000 };

export const addressOf = (id) => `${PATH}/${encodeURIComponent(id)}`;

export function createUploads({ isOwn }) {
  const view = createStore({ ...UNKNOWN, running: [], files: [] });
  const rows = new Map(); // id → file; one in pieces (tus) is `receiving` until it is whole
  const running = new Map(); // id → how far it is
  const gone = new Set(); // deleted while a list was under way
  let channel = "";
  let state = UNKNOWN;
  let asked = 0;

  function redraw() {
    const all = [...rows.values()];
    const paused = all.filter((row) => row.state === "receiving" && !running.has(row.id));
    view.set({
      ...state,
      running: [...running.values(), ...paused.map((row) => ({ ...row, stage: "paused" }))],
      files: all.filter((row) => row.state === "ready").sort(newestFirst),
    });
  }

  function forget(id) {
    clearTimeout(running.get(id)?.timer);
    running.delete(id);
  }

  function progress({ id, name, stage, received, size }) {
    // The row comes by another way than the progress, and may be first.
    if (!BELIEVED[stage] || rows.get(id)?.state === "ready") return;
    clearTimeout(running.get(id)?.timer);
    const lapse = () => {
      running.delete(id);
      redraw();
    };
    const timer = setTimeout(lapse, BELIEVED[stage]);
    running.set(id, { id, name, stage, received, size, timer });
    // The tab that sent it knows why, and says so.
    if (stage === "failed" && isOwn(name)) forget(id);
  }

  function remove(id) {
    gone.add(id);
    rows.delete(id);
    forget(id);
  }

  function put(file) {
    rows.set(file.id, file);
    if (file.state === "ready") forget(file.id);
  }

  /** The next page of the list, or from its start; what events told meanwhile is newer. */
  async function load(after) {
    const own = (asked += 1);
    const before = after ? [] : [...rows.keys()];
    gone.clear();
    const answer = await call("GET", after ? `${PAGE}&after=${encodeURIComponent(after)}` : PAGE);
    if (own !== asked) return; // asked anew meanwhile, or signed out
    if (answer.ok) {
      const listed = new Map((answer.data?.uploads ?? []).map((each) => [each.id, fromList(each)]));
      for (const id of before) if (!listed.has(id)) rows.delete(id);
      for (const [id, file] of listed) {
        if (!gone.has(id) && rows.get(id)?.state !== "ready") put(file);
      }
      state = { next: answer.data?.next ?? null, error: "", loaded: true };
    } else state = { ...state, error: sentence(answer) };
    redraw();
  }

  return {
    view,
    load,
    channel: () => channel,

    /** Whose they are; null: nobody's. What was shown of another user goes. */
    follow(user) {
      const wanted = user ? `user.${user.id}.uploads` : "";
      if (wanted === channel) return;
      channel = wanted;
      asked += 1;
      for (const id of [...running.keys()]) forget(id);
      rows.clear();
      state = UNKNOWN;
      redraw();
    },

    /** The channel is heard now: what was there before, the list tells. */
    begin() {
      if (channel && !state.loaded) load();
    },

    /** Events are missing. */
    again() {
      if (channel) load();
    },

    /** An event of the channel. */
    note({ type, key, data }) {
      if (!data || typeof data !== "object") return;
      if (type === PROGRESS) progress(data);
      else if (type === "delete") remove(key);
      else if (data.new) put(fromRow(data.new));
      redraw();
    },

    async remove(id) {
      const answer = await call("DELETE", addressOf(id));
      if (!answer.ok && answer.status !== 404) return sentence(answer);
      remove(id);
      redraw();
      return "";
    },
  };
}

const fromList = (file) => ({ ...pick(file), at: Date.parse(file.createdAt) });
const fromRow = (row) => ({ ...pick(row), at: Date.parse(row.created_at) });

function pick({ id, name, type, size, visibility, state }) {
  return { id, name, type, size, visibility, state };
}

const newestFirst = (a, b) => b.at - a.at || (a.id < b.id ? 1 : -1);
