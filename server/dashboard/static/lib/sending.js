// Sends the files that were chosen or dropped in this tab. How far they are, the stream tells.
//
// One after the other: a browser has six connections to a server over HTTP/1.1, for all its tabs,
// and each tab keeps one or two for its streams.

import { call } from "./api.js";
import { bytes } from "./format.js";
import { sentence } from "./sentence.js";
import { createStore } from "./store.js";

const LONGEST_WAIT = 60;

export function createSender({ about }) {
  const state = createStore({ sending: "", waiting: 0, refused: [], said: "" });
  const sent = new Set();
  let queue = [];
  let stop = null;
  let number = 0;

  const tell = (more) => state.set({ ...state.get(), waiting: queue.length, ...more });

  function refuse(name, why) {
    const refused = [...state.get().refused, { number: (number += 1), name, why }];
    tell({ refused, said: `${name} was not uploaded. ${why}` });
  }

  async function run() {
    while (queue.length) {
      const file = queue.shift();
      stop = new AbortController();
      tell({ sending: file.name });
      const why = await send(file, about.page.get().uploads, stop.signal);
      if (why) refuse(file.name, why);
      else if (!stop.signal.aborted) tell({ said: `${file.name} is uploaded` });
    }
    stop = null;
    tell({ sending: "" });
  }

  async function send(file, policies, signal) {
    const policy = policyFor(file, policies);
    if (file.size > policy.most) {
      return `File too large: at most ${bytes(policy.most)} for ${policy.name}, and it has ${bytes(file.size)}`;
    }
    sent.add(told(file.name));
    const body = new FormData();
    body.append("file", file);
    const path = `/api/upload?policy=${encodeURIComponent(policy.name)}`;
    let answer = await call("POST", path, { body, signal });
    while (answer.status === 429 && !signal.aborted) {
      await pause(Math.min(Math.max(answer.retryAfter, 1), LONGEST_WAIT) * 1000, signal);
      answer = await call("POST", path, { body, signal });
    }
    if (answer.ok || signal.aborted) return "";
    if (answer.status === 401) {
      queue = [];
      about.refreshReader();
    }
    // The browser does not tell the two apart.
    if (answer.status === 0) return "The server cannot be reached, or the file cannot be read";
    return sentence(answer);
  }

  return {
    state,
    isOwn: (name) => sent.has(name),
    refuse,

    add(files) {
      queue.push(...files);
      if (stop) tell();
      else run();
    },

    /** End the one that is being sent; those that wait are not sent. */
    cancel() {
      queue = [];
      stop?.abort();
    },

    /** Somebody else is here: what is still to be sent is not theirs, nor what was said of it. */
    forget() {
      queue = [];
      stop?.abort();
      sent.clear();
      tell({ refused: [], said: "" });
    },

    dismiss: () => tell({ refused: [] }),
  };
}

/** A name as `upload.progress` tells it: its end, and only what can be printed. */
const told = (name) => [...name.replaceAll('"', "%22")].slice(-200).join("").replace(/[\p{C}\p{Z}]/gu, (char) => (char === " " ? char : ""));

/** By the file's type, else by its extension, else by its kind (`image/…`); else the last. */
export function policyFor({ name, type }, policies) {
  const extension = name.split(".").at(-1).toLowerCase();
  const kind = type.split("/")[0];
  return (
    policies.find((policy) => policy.types.includes(type)) ??
    policies.find((policy) => policy.extensions.includes(extension)) ??
    policies.find(({ types }) => kind !== "application" && types.some((each) => each.startsWith(`${kind}/`))) ??
    policies.at(-1)
  );
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
