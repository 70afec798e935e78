// The past of channels, in pages, each event with its text as the log has it: parsing and printing
// it again would round large numbers.

import { call } from "./api.js";
import { streamPath } from "./channels.js";

export const MOST = 10_000; // events that are fetched; the server looks back over as many at most
const PAGE = 500;
const NEAR = 1_000; // positions; what is left then comes by the stream itself
const PIECE = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\]]/g;

/**
 * From `start` (`{ rewind: "100" }` or `{ since: "10m" }`) to about the present. `onEvents` is given
 * each page. Answers `{ next }`, from where a stream goes on without a hole; `{ next, whole: false }`
 * when there was more than `MOST`; or `{ error }`, an answer of `call`.
 */
export async function readHistory(channels, start, { signal, onEvents }) {
  let query = start;
  let next = null;
  for (let count = 0; ; ) {
    const answer = await call("GET", pathOf(channels, query), { signal });
    if (!answer.ok) return { error: answer };
    const events = eventsOf(answer);
    if (signal.aborted) return {};
    count += events.length;
    onEvents(events, answer.data.gap);
    const moved = next === null ? Infinity : positionOf(answer.data.next) - positionOf(next);
    next = answer.data.next;
    // It moves with the whole log: on a busy server it would never quite stand still.
    if (moved === 0 || (events.length < PAGE && moved < NEAR)) return { next, whole: true };
    if (count >= MOST) return { next, whole: false };
    query = { after: next };
  }
}

function pathOf(channels, query) {
  const path = streamPath(channels).replace("/api/stream?", "/api/events?");
  return `${path}&${new URLSearchParams({ ...query, limit: PAGE })}`;
}

const positionOf = (id) => Number(id.split(".")[1]);

function eventsOf({ data, text }) {
  const texts = [...elements(text)];
  return data.events.map((event, at) => ({
    id: event.id,
    channel: event.channel,
    type: event.type,
    key: event.key,
    at: event.at,
    messageId: event.message_id,
    // As the stream has it, where the id is a field of the frame.
    raw: texts[at].replace(/^\{"id":"[^"]*",/, "{"),
  }));
}

/** The texts of the objects in the arrays of the outermost object. */
function* elements(text) {
  let depth = 0;
  let start = 0;
  for (const { 0: piece, index } of text.matchAll(PIECE)) {
    if (piece === "{" || piece === "[") {
      depth += 1;
      if (depth === 3) start = index;
    } else if (piece === "}" || piece === "]") {
      if (depth === 3) yield text.slice(start, index + 1);
      depth -= 1;
    }
  }
}
