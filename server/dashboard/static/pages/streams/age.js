// How long a stream has been open. One clock for all of them, while there are any.

import { html } from "../../vendor/htm-preact.js";
import { createStore, useStore } from "../../lib/store.js";

const now = createStore(Date.now());
const watch = now.watch;
let timer = 0;
let watchers = 0;

now.watch = (watcher) => {
  if ((watchers += 1) === 1) timer = setInterval(() => now.set(Date.now()), 1000);
  const leave = watch(watcher);
  return () => {
    leave();
    if ((watchers -= 1) === 0) clearInterval(timer);
  };
};

/** `seconds` at the time `at` (by this browser's clock). */
export function Age({ seconds, at, title }) {
  const time = useStore(now);
  return html`<span title=${title}>${span(seconds + Math.max(0, time - at) / 1000)}</span>`;
}

/** 5 s, 3 min 20 s, 2 h 5 min, 3 d 4 h. */
function span(seconds) {
  const whole = Math.floor(seconds);
  const [minutes, hours, days] = [60, 3600, 86_400].map((unit) => Math.floor(whole / unit));
  if (days) return `${days} d ${hours % 24} h`;
  if (hours) return `${hours} h ${minutes % 60} min`;
  return minutes ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}
