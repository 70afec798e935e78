// The events as they arrive: what the stream listens to, a filter, pause, and the list itself.

import { html, useCallback, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { count, plural } from "../lib/format.js";
import { useStore } from "../lib/store.js";
import { EventRow, GapRow } from "./event-row.js";
import { Pause, Play } from "./icons.js";
import { Subscribe } from "./subscribe.js";

export function Events({ feed, channels, onListen }) {
  const view = useStore(feed.view);
  const [paused, pause] = useState(false);
  const [open, setOpen] = useState(null);

  // An open event is being read: the list holds still around it until it is closed.
  useEffect(() => feed.hold(paused || open !== null), [paused, open]);
  const toggle = useCallback((number) => setOpen((now) => (now === number ? null : number)), []);
  const resume = () => {
    pause(false);
    setOpen(null);
  };
  const clear = () => {
    resume();
    feed.clear();
  };

  return html`
    <section class="card events" aria-labelledby="events-title">
      <div class="head">
        <h2 id="events-title">Events</h2>
        <label class="filter">
          <span class="visually-hidden">Filter by channel</span>
          <input type="search" placeholder="Filter by channel" spellcheck=${false} autocomplete="off"
            onInput=${(input) => feed.filter(input.target.value)} />
        </label>
        <button type="button" aria-pressed=${String(paused)} onClick=${() => (paused ? resume() : pause(true))}>
          ${paused ? html`<${Play} />Resume` : html`<${Pause} />Pause`}
        </button>
        <button type="button" onClick=${clear} disabled=${view.rows.length === 0}>Clear</button>
      </div>
      <${Subscribe} channels=${channels} onListen=${onListen} />
      <div class="list">
        ${view.held && html`<${Held} waiting=${view.waiting} paused=${paused} onResume=${resume} />`}
        <${Rows} view=${view} open=${open} onToggle=${toggle} channels=${channels} />
      </div>
      <${Footer} view=${view} />
    </section>
  `;
}

function Held({ waiting, paused, onResume }) {
  const why = paused ? "Paused" : "Holding still while you read";
  return html`
    <div class="held">
      <span>${why}${waiting > 0 ? html` · <strong>${count(waiting)} new</strong>` : ""}</span>
      <button type="button" class="link" onClick=${onResume}>${waiting > 0 ? "Show them" : "Resume"}</button>
    </div>
  `;
}

function Rows({ view, open, onToggle, channels }) {
  const list = useRef(null);
  if (view.rows.length === 0) return html`<${Empty} view=${view} channels=${channels} />`;

  // One stop for the Tab key; the arrows move inside.
  const move = (press) => {
    const step = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[press.key];
    const lines = [...list.current.querySelectorAll(".line")];
    const at = lines.indexOf(document.activeElement);
    if (!step || at < 0) return;
    press.preventDefault();
    lines[Math.min(lines.length - 1, Math.max(0, at + step))].focus();
  };
  return html`
    <ol class="rows" role="list" aria-label="Events, newest first" ref=${list} onKeyDown=${move}>
      ${view.rows.map((row, at) =>
        row.kind === "gap"
          ? html`<${GapRow} key=${row.number} row=${row} />`
          : html`<${EventRow} key=${row.number} row=${row} first=${at === 0} open=${row.number === open}
              fresh=${view.churn <= 8} onToggle=${onToggle} />`,
      )}
    </ol>
  `;
}

function Empty({ view, channels }) {
  if (view.filter) {
    return html`
      <div class="nothing">
        <p><strong>No event on a channel like “${view.filter}” yet</strong></p>
        <p>${view.filteredOut > 0 ? `${plural(view.filteredOut, "event")} on other channels since you set the filter.` : "The filter applies to what arrives from now on."}</p>
      </div>
    `;
  }
  return html`
    <div class="nothing">
      <p><strong>Waiting for events on <code>${channels.join(", ")}</code></strong></p>
      <p>Press Publish, or commit one from any SQL client.</p>
    </div>
  `;
}

function Footer({ view }) {
  const { passed, older, filteredOut, waiting } = view;
  const parts = [plural(passed, "event")];
  if (older > 0) parts.push(`the newest ${count(passed - older)} are kept, … ${count(older)} more are not`);
  if (waiting > 0) parts.push(`${count(waiting)} waiting`);
  if (filteredOut > 0) parts.push(`${count(filteredOut)} filtered out`);
  return html`<p class="foot">${parts.join(" · ")}</p>`;
}
