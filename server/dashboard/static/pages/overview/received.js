// What the page itself receives on the channels that it listens to, by its own clock.

import { html } from "../../vendor/htm-preact.js";
import { clock, count, duration } from "../../lib/format.js";
import { Chart } from "./chart.js";

const LINES = [{ name: "rate", style: ["accent", []] }];

export function Received({ read, since, channels }) {
  return html`
    <section class="card" aria-labelledby="received-title">
      <div class="head"><h2 id="received-title">Received by this page <span class="muted mono">${channels.join(", ")}</span></h2></div>
      <dl class="tiles received">
        <${Tile} label="Received per second" value=${count(read.rate)} note=${`peak ${count(read.peak)} in 2 minutes`} />
        <${Tile} label="Received in all" value=${count(read.total)} note=${`since ${clock(since).slice(0, 8)}`} />
        <${Latency} p50=${read.latency} />
      </dl>
      <p class="visually-hidden">
        Events that this page received per second over the last two minutes: now ${count(read.rate)}, at most ${count(read.peak)}.
      </p>
      <${Chart} times=${read.times} values=${{ rate: read.rates }} lines=${LINES} shown=${["rate"]} format=${count} floor=${4} />
    </section>
  `;
}

function Tile({ label, value, note, title }) {
  return html`
    <div class="tile" title=${title}>
      <dt>${label}</dt>
      <dd><span class="value">${value}</span><span class="note">${note}</span></dd>
    </div>
  `;
}

function Latency({ p50 }) {
  const label = "Commit → browser";
  const title = "Median of the last 100 events: this browser's clock minus the event's time. On another machine the clocks may differ.";
  const note = "median of the last 100";
  if (p50 === null) return html`<${Tile} label=${label} value="–" note=${note} title=${title} />`;
  return p50 < 0
    ? html`<${Tile} label=${label} value="–" note="the clocks differ" title=${`${title} Here they do: the median is ${duration(p50)}.`} />`
    : html`<${Tile} label=${label} value=${duration(p50)} note=${note} title=${title} />`;
}
