// The states of a delivery in words, and the short forms of its times.

import { html } from "../../vendor/htm-preact.js";

export const STATES = ["pending", "unmatched", "dead", "done", "unhandled"];

const ABOUT = {
  pending: { word: "Pending", tone: "busy", why: "It waits for a worker, or is being handled." },
  retrying: { word: "Retrying", tone: "warn", why: "Its handler failed; it is tried again by itself." },
  done: { word: "Done", tone: "good", why: "Its effect is applied." },
  unhandled: { word: "Unhandled", tone: "calm", why: "Nothing is to be done with it." },
  unmatched: { word: "Unmatched", tone: "warn", why: "It is about money and matches nobody here: mend the cause, then retry it." },
  dead: { word: "Dead", tone: "bad", why: "Its handler failed too often. It is not tried again by itself." },
  failed: { word: "Failed", tone: "bad", why: "" },
};

export const about = (state) => ABOUT[state] ?? { word: state, tone: "calm", why: "" };

/** A pending delivery that has failed before is told apart from one that waits for its first attempt. */
export const stateOf = ({ state, attempts }) => (state === "pending" && attempts > 0 ? "retrying" : state);

export function State({ state }) {
  const { word, tone, why } = about(state);
  return html`<span class=${`state ${tone}`} title=${why || undefined}>${word}</span>`;
}

const pad = (n) => String(n).padStart(2, "0");
const day = new Intl.DateTimeFormat("en", { month: "short", day: "numeric" });

/** The local time of today; of other days also the date. */
export function moment(at) {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return "–";
  const time = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
  return date.toDateString() === new Date().toDateString() ? time : `${day.format(date)} ${time.slice(0, 5)}`;
}

export const Time = ({ at }) => html`<time datetime=${iso(at)} title=${new Date(at).toString()}>${moment(at)}</time>`;

function iso(at) {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString();
}
