// An event's frame: what was on the wire, and where in it the data begins.

const DATA = '"data":';

/** The frame as it was on the wire, put together again: the browser hands out only its fields. */
export function frameOf({ id, raw }) {
  const lines = raw.split("\n").map((line) => `data: ${line}`);
  return `${id ? `id: ${id}\n` : ""}${lines.join("\n")}\n\n`;
}

/** Where an event's data begins. Within strings quotes are escaped, so the first one is it. */
export function dataAt(raw) {
  const at = raw.indexOf(DATA);
  return at < 0 ? 0 : at + DATA.length;
}
