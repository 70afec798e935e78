// From a stream's message to everything that shows it: the meter, the list, the tiles.
// Runs once per event, up to thousands of times a second: it parses, counts and hands on.

import { METRICS } from "./channels.js";

/** `own`: the channels that the page added for itself; they are no news. */
export function createIntake({ feed, meter, clients, uploads, echo, own }) {
  return function take(message) {
    const now = Date.now();
    const event = parse(message.data);
    const channel = text(event.channel);
    if (channel === METRICS) clients.note(event.data, now);
    else if (channel === uploads.channel()) uploads.note(event);
    if (own().includes(channel)) return;

    const at = Date.parse(event.at);
    meter.count(at, now);
    echo.arrived(event.message_id, performance.now());
    feed.event({
      channel,
      type: text(event.type),
      key: text(event.key),
      at: Number.isNaN(at) ? now : at,
      // An ephemeral event has no id of its own; the browser reports the last one it saw.
      id: event.message_id ? message.lastEventId : "",
      messageId: text(event.message_id),
      received: now,
      raw: message.data,
    });
  };
}

function parse(data) {
  try {
    const event = JSON.parse(data);
    if (event && typeof event === "object") return event;
  } catch {
    // Not ours to repair: shown as it came.
  }
  return { type: "unreadable" };
}

const text = (value) => (value === undefined || value === null ? "" : String(value));
