// npm `eventsource` on the address given: what it dispatches, as lines of JSON.

import { EventSource } from "eventsource";

const source = new EventSource(process.argv[2]);
const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

for (const name of ["message", "ready", "gap", "bye"])
  source.addEventListener(name, ({ data, lastEventId }) => tell({ event: name, id: lastEventId, data }));
source.addEventListener("error", () => tell({ event: "error", state: source.readyState }));
