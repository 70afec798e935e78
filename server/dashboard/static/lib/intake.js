// From the debugger's stream to what shows it: the meter, the list, the form's echo.
// Runs once per event, up to thousands of times a second: it counts and hands on.

export function createIntake({ feed, meter, echo }) {
  return function take(event) {
    const now = Date.now();
    const at = Date.parse(event.at);
    meter.count(at, now);
    echo.arrived(event.messageId, performance.now());
    feed.event({
      channel: text(event.channel),
      type: text(event.type),
      key: text(event.key),
      at: Number.isNaN(at) ? now : at,
      id: event.id,
      messageId: text(event.messageId),
      received: now,
      raw: event.raw,
    });
  };
}

const text = (value) => (value === undefined || value === null ? "" : String(value));
