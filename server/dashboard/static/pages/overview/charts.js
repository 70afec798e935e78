// What is shown of the figures, and how each is written.

import { bytes, count, duration, plural } from "../../lib/format.js";
import { SPAN, STATES } from "../../lib/figures.js";

const DASH = {
  accepted: ["accent", []],
  done: ["good", [7, 3]],
  unhandled: ["muted", [2, 3]],
  unmatched: ["warn", [7, 3, 2, 3]],
  failed: ["warn", [3, 3]],
  dead: ["bad", [12, 4]],
  repeated: ["word", [4, 2]],
  refused: ["bad", [1, 3]],
};

const rate = (n) => (n > 0 && n < 10 && !Number.isInteger(n) ? n.toFixed(1) : count(n));
const ms = (n) => (n === 0 ? "0 ms" : n < 10 ? `${n.toFixed(1)} ms` : duration(n));
const written = (n) => `${bytes(Math.round(n))}/s`;
/** How long ago it began: 37 s, 5 min, 3 h. */
export function up(seconds) {
  if (seconds < 100) return `${Math.floor(seconds)} s`;
  return seconds < 6000 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;
}

const STEPS = Array.from({ length: 48 }, (_, power) => 2 ** power); // of bytes
const one = (name, label = "", style = ["accent", []]) => ({ name, label, style });

/** `floor`: the least that the top of the plot stands for. `note`: beside the present value, of the
 * first line unless there is a `value`. `sparse`: seconds may be empty. `absent`: what that means. */
export const CHARTS = [
  {
    label: "Connected clients",
    lines: [one("clients")],
    format: count,
    floor: 4,
    note: () => "open streams",
  },
  {
    label: "Events per second",
    lines: [one("events")],
    format: rate,
    floor: 4,
    note: (now, several) => (several ? "the same ones come to each process" : "of all channels"),
  },
  {
    label: "Deliveries per second",
    lines: [one("deliveries")],
    format: rate,
    floor: 4,
    note: (now) => `${written(now.written ?? 0)} to streams`,
  },
  {
    label: "Latency, commit to socket",
    lines: [one("p50", "median"), one("p99", "99 %", ["warn", [6, 3]])],
    format: ms,
    floor: 5,
    sparse: true,
    absent: "no event lately",
    note: (now, several) => `median${several ? " of the slowest process" : ""}`,
  },
  {
    label: "Lagging clients",
    lines: [one("lagging")],
    format: count,
    floor: 4,
    note: (now) => (now.lagging ? "catch up, or take nothing" : "all keep up"),
  },
  {
    label: "Webhooks per second",
    lines: STATES.map((state) => one(state, state, DASH[state])),
    always: ["accepted", "done"],
    format: rate,
    floor: 4,
    note: () => "accepted",
  },
  {
    label: "Uploads",
    lines: [one("uploaded")],
    value: (now) => (now.running === null ? "–" : count(now.running)),
    format: written,
    floor: 1024,
    steps: STEPS,
    note: (now) => `running, ${written(now.uploaded ?? 0)}`,
    what: "bytes received",
    absent: "not in this process",
  },
  {
    label: "Memory",
    lines: [one("memory")],
    format: (n) => bytes(Math.round(n)),
    floor: 1024 * 1024,
    steps: STEPS,
    note: (now) => `${Math.round((now.cpu ?? 0) * 100)} % of a core`,
  },
];

/** What stands for a whole row of processes: a column's title, and what is in it. */
export const COLUMNS = [
  ["Clients", (data) => count(data.clients)],
  ["Lagging", (data) => count(data.lagging)],
  ["Deliveries/s", (data) => rate(data.deliveries_per_second)],
  ["Median", (data) => (data.latency ? ms(data.latency.p50) : "–")],
  ["99 %", (data) => (data.latency ? ms(data.latency.p99) : "–")],
  ["Memory", (data) => bytes(data.memory)],
  ["Core", (data) => `${Math.round(data.cpu * 100)} %`],
  ["Up", (data) => up(data.uptime)],
];

/** In words, for who does not see the plot. */
export function sentence({ label, what, format, lines, absent = "nothing yet" }, shown, read) {
  const parts = lines
    .filter(({ name }) => shown.includes(name))
    .map(({ name, label: of }) => {
      const values = read.lines[name].filter((value) => value !== null);
      if (!values.length) return `${of ? `${of} ` : ""}${absent}`;
      const now = read.lines[name].at(-1);
      const least = format(Math.min(...values));
      return `${of ? `${of} ` : ""}now ${now === null ? absent : format(now)}, ${least} to ${format(Math.max(...values))}`;
    });
  return `${label}${what ? `, ${what}` : ""}, over the last ${plural(SPAN / 60, "minute")}: ${parts.join("; ")}.`;
}
