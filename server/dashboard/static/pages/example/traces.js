// What the reader can learn: each action's request, and the event that it became.

import { html } from "../../vendor/htm-preact.js";
import { duration } from "../../lib/format.js";
import { useStore } from "../../lib/store.js";

export function Traces({ traces, channels }) {
  const entries = useStore(traces.view);
  return html`
    <section class="card traces" aria-labelledby="traces-title">
      <div class="head">
        <h2 id="traces-title">Requests and events</h2>
        ${entries.length > 0 && html`<button type="button" class="link" onClick=${traces.clear}>Clear</button>`}
      </div>
      ${entries.length === 0 && html`<p class="told muted">Write or change something, here, in another tab or by SQL. Its request and the event that it became show up here. This page listens to ${channels.map((channel, at) => html`${at > 0 && " and "}<code title=${channel}>${short(channel)}</code>`)}.</p>`}
      <div class="log" role="log" aria-labelledby="traces-title">
        ${entries.length > 0 && html`
          <ol role="list">
            ${entries.map((entry) => html`<li key=${entry.number}><${Request} entry=${entry} /><${Outcome} entry=${entry} /></li>`)}
          </ol>
        `}
      </div>
    </section>
  `;
}

function Request({ entry: { method, path, status, took } }) {
  if (!method) return html`<p><span class="elsewhere">From elsewhere</span> <span class="muted">another tab, a server, or SQL</span></p>`;
  const told = status === undefined ? "…" : status || "no answer";
  return html`
    <p class="mono request"><b>${method}</b> <span>${path}</span> → <b class=${status >= 200 && status < 300 ? "good" : status === undefined ? "" : "error"}>${told}</b>${took !== undefined && html` <span class="muted">${duration(took)}</span>`}</p>
  `;
}

function Outcome({ entry: { event, events, awaited, after, status, error } }) {
  if (event) {
    return html`
      <p class="became">
        event <b>${event.type}</b> on <code title=${event.channel}>${short(event.channel)}</code>${events > 1 && html` <b>× ${events}</b>`}${event.key && html`, key <code>${event.key}</code>`}
        <span class="muted">position <code>${event.id}</code>${after !== undefined && ` · here after ${duration(after)}`}</span>
      </p>
    `;
  }
  if (status === undefined) return null;
  if (error) return html`<p class="became error">${error}. No event: nothing was committed.</p>`;
  return html`<p class="became muted">${awaited ? "Committed; its event is on the way …" : "No event: nothing changed."}</p>`;
}

/** A user's id is long, and known here. */
const short = (channel) => channel.replace(/^(user\.[^.]{6})[^.]{6,}\./, "$1….");
