// What a screen reader hears: changes of the connection at once, events as a summary now and then.

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { plural } from "../lib/format.js";
import { useStore } from "../lib/store.js";

const EVERY = 15_000;
const STATES = {
  connecting: "Connecting",
  live: "The stream is live",
  reconnecting: "The stream is reconnecting",
  ended: "The stream has ended",
};

export function Announcer({ stream, meter, feed }) {
  const [text, say] = useState("");
  const { state } = useStore(stream.status);
  const before = useRef(0);

  useEffect(() => say(STATES[state]), [state]);
  useEffect(() => {
    const timer = setInterval(() => {
      const { total } = meter.read(Date.now());
      const added = total - before.current;
      before.current = total;
      // Who paused or opened an event is reading and is not to be interrupted.
      const { held, rows } = feed.view.get();
      if (added > 0 && !held) say(`${plural(added, "new event")}${newest(rows[0])}`);
    }, EVERY);
    return () => clearInterval(timer);
  }, []);
  return html`<p class="visually-hidden" aria-live="polite">${text}</p>`;
}

const newest = (row) => (row?.kind === "event" ? `, the newest: ${row.type} on ${row.channel}` : "");
