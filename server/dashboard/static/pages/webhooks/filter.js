// Which deliveries: what the address says, what the API is asked, and whether an event's row fits.

import { address } from "../../lib/router.js";
import { STATES } from "./states.js";

export const PATH = "/webhooks";
const FIELDS = ["source", "type", "key", "q", "since"];

export function fromParams(params) {
  const filter = { states: (params.get("state") ?? "").split(",").filter((state) => STATES.includes(state)) };
  for (const name of FIELDS) filter[name] = params.get(name)?.trim() ?? "";
  return filter;
}

export function toParams({ states, ...fields }) {
  return { ...fields, state: states.join(",") };
}

export const hrefOf = (filter, more = {}) => `#${address(PATH, { ...toParams({ states: [], ...filter }), ...more })}`;

export const isOpen = (filter) => filter.states.length > 0 || FIELDS.some((name) => filter[name]);

export const same = (a, b) => JSON.stringify(toParams(a)) === JSON.stringify(toParams(b));

/** For `GET /api/webhooks/deliveries`. */
export function queryOf(filter, more = {}) {
  const query = new URLSearchParams(filter.states.map((state) => ["state", state]));
  for (const [name, value] of Object.entries({ ...pick(filter), ...more })) if (value) query.set(name, value);
  return query;
}

/** For `POST /api/webhooks/deliveries/replay`; null: nothing that the filter lets through can be. */
export function replayOf(filter) {
  const settled = filter.states.filter((state) => state !== "pending");
  if (filter.states.length && !settled.length) return null;
  // These two wait for an operator; what is done comes again only if it is asked for by name.
  return { ...pick(filter), state: settled.length ? settled : ["dead", "unmatched"] };
}

/** What an event tells is enough to know, but for a text in the payload. */
export function fits(row, { source, states, type, key }) {
  const family = type.endsWith(".*");
  return (
    (!source || row.source === source) &&
    (!states.length || states.includes(row.state)) &&
    (!key || row.key === key) &&
    (!type || (family ? row.type.startsWith(type.slice(0, -1)) : row.type === type))
  );
}

function pick(filter) {
  return Object.fromEntries(FIELDS.filter((name) => filter[name]).map((name) => [name, filter[name]]));
}
