// The numbers of the page, and the rate as a plot. Redrawn once a second.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { clock, count, duration, plural } from "../lib/format.js";
import { useStore } from "../lib/store.js";
import { Plot } from "./plot.js";

export function Overview({ meter, clients, about }) {
  const page = useStore(about.page);
  const now = useSecond();
  const read = meter.read(now);
  return html`
    <section class="card overview" aria-labelledby="overview-title">
      <h2 id="overview-title" class="visually-hidden">Overview</h2>
      <dl class="tiles">
        <${Clients} read=${clients.read(now)} allowed=${page.metrics} />
        <${Tile} label="Events per second" value=${count(read.rate)} note=${`peak ${count(read.peak)} in 2 minutes`} />
        <${Tile} label="Received here" value=${count(read.total)} note=${`since ${clock(meter.started).slice(0, 8)}`} />
        <${Latency} p50=${read.latency} />
      </dl>
      <${Plot} read=${read} />
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

function Clients({ read, allowed }) {
  const label = "Connected clients";
  if (!allowed) {
    const title = "Admins see this number: open the link that the server printed, or start the server with --demo";
    return html`<${Tile} label=${label} value="–" note="for admins" title=${title} />`;
  }
  if (read.clients === null) return html`<${Tile} label=${label} value="–" note="waiting for the server" />`;
  return html`<${Tile} label=${label} value=${count(read.clients)} note=${`on ${plural(read.processes, "process", "processes")}`} />`;
}

function Latency({ p50 }) {
  const label = "Commit → browser";
  const title = "Median of the last 100 events: this browser's clock minus the event's time. On another machine the clocks may differ.";
  const note = "p50 of the last 100";
  if (p50 === null) return html`<${Tile} label=${label} value="–" note=${note} title=${title} />`;
  return p50 < 0
    ? html`<${Tile} label=${label} value="–" note="the clocks differ" title=${`${title} Here they do: the median is ${duration(p50)}.`} />`
    : html`<${Tile} label=${label} value=${duration(p50)} note=${note} title=${title} />`;
}

/** The time now, renewed just after each full second. */
function useSecond() {
  const [now, set] = useState(Date.now);
  useEffect(() => {
    let timer = 0;
    const next = () => {
      timer = setTimeout(() => {
        set(Date.now());
        next();
      }, 1000 - (Date.now() % 1000) + 5);
    };
    next();
    return () => clearTimeout(timer);
  }, []);
  return now;
}
