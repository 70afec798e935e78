// The events as they arrive: what the stream listens to, filters, pause, and the list itself.

import { html, useCallback, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { count, plural } from "../lib/format.js";
import { useStore } from "../lib/store.js";
import { EventRow, GapRow, NoteRow } from "./event-row.js";
import { Pause, Play, Stop } from "./icons.js";
import { Subscribe } from "./subscribe.js";

export function Events({ feed, channels, listening, onListen, onRewind }) {
  const view = useStore(feed.view);
  const state = useStore(listening.view);
  const [paused, pause] = useState(false);
  const [open, setOpen] = useState(null);

  // An open event is being read: the list holds still around it until it is closed.
  useEffect(() => feed.hold(paused || open !== null), [paused, open]);
  // The page may be left while something is open.
  useEffect(() => () => feed.hold(false), []);
  const toggle = useCallback((number) => setOpen((now) => (now === number ? null : number)), []);
  const resume = () => {
    pause(false);
    setOpen(null);
  };
  const clear = () => {
    resume();
    feed.clear();
  };
  const rewind = (list, start) => {
    resume();
    onRewind(list, start);
  };

  return html`
    <section class="card events" aria-labelledby="events-title">
      <div class="head">
        <h2 id="events-title">Events</h2>
        <button type="button" aria-pressed=${String(paused)} onClick=${() => (paused ? resume() : pause(true))}>
          ${paused ? html`<${Play} />Resume` : html`<${Pause} />Pause`}
        </button>
        <${StopButton} phase=${state.phase} onStop=${listening.stop} onListen=${() => onListen(channels)} />
        <button type="button" onClick=${clear} disabled=${view.rows.length === 0}>Clear</button>
      </div>
      <${Subscribe} channels=${channels} state=${state} onListen=${onListen} onRewind=${rewind} />
      <${Filters} feed=${feed} view=${view} frames=${state.frames} onFrames=${listening.showFrames} />
      <div class="list">
        ${view.held && html`<${Held} waiting=${view.waiting} paused=${paused} onResume=${resume} />`}
        <${Rows} feed=${feed} view=${view} phase=${state.phase} open=${open} onToggle=${toggle} channels=${channels} />
      </div>
      <${Footer} view=${view} />
    </section>
  `;
}

/** Pausing holds the list; this ends the traffic. */
function StopButton({ phase, onStop, onListen }) {
  const stopped = phase === "stopped";
  const title = stopped ? "Listen again, from the present" : "Close the stream: nothing is received until you listen again";
  return html`
    <button type="button" title=${title} onClick=${stopped ? onListen : onStop}>
      ${stopped ? html`<${Play} />Listen` : html`<${Stop} />Stop`}
    </button>
  `;
}

function Filters({ feed, view, frames, onFrames }) {
  const { channel, text } = view.filter;
  return html`
    <div class="sieve" role="search" aria-label="Filter the events">
      <label>
        <span class="visually-hidden">Filter by channel</span>
        <input type="search" placeholder="Channel or pattern" value=${channel} spellcheck=${false} autocomplete="off"
          autocapitalize="none" onInput=${(input) => feed.filter({ channel: input.target.value })} />
      </label>
      <label>
        <span class="visually-hidden">Filter by text</span>
        <input type="search" placeholder="Text in type, key or data" title="Part of the type, of the key, or of the data’s JSON" value=${text} spellcheck=${false} autocomplete="off"
          autocapitalize="none" onInput=${(input) => feed.filter({ text: input.target.value })} />
      </label>
      <button type="button" aria-pressed=${String(frames)} onClick=${() => onFrames(!frames)}
        title="Show what the stream says of itself, too: ready, bye, and when it is cut">Control frames</button>
    </div>
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

function Rows({ feed, view, phase, open, onToggle, channels }) {
  const list = useRef(null);
  if (view.rows.length === 0) return html`<${Empty} view=${view} phase=${phase} channels=${channels} />`;

  // One stop for the Tab key; the arrows move inside.
  const move = (press) => {
    const step = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[press.key];
    const lines = [...list.current.querySelectorAll(".line")];
    const at = lines.indexOf(document.activeElement);
    if (!step || at < 0) return;
    press.preventDefault();
    lines[Math.min(lines.length - 1, Math.max(0, at + step))].focus();
  };
  const first = view.rows.find(({ kind }) => kind === "event");
  return html`
    <ol class="rows" role="list" aria-label="Events, newest first" ref=${list} onKeyDown=${move}>
      ${view.rows.map((row) => {
        if (row.kind === "gap") return html`<${GapRow} key=${row.number} row=${row} />`;
        if (row.kind === "note") return html`<${NoteRow} key=${row.number} row=${row} />`;
        return html`<${EventRow} key=${row.number} row=${row} first=${row === first} open=${row.number === open}
          fresh=${view.churn <= 8} onToggle=${onToggle} />`;
      })}
    </ol>
    ${view.more > 0 && html`<button type="button" class="link older" onClick=${feed.more}>Show older (${count(view.more)} more are kept)</button>`}
  `;
}

function Empty({ view, phase, channels }) {
  if (view.filter.on) {
    return html`
      <div class="nothing">
        <p><strong>No event matches the filter yet</strong></p>
        <p>${view.filteredOut > 0 ? `${plural(view.filteredOut, "other event")} since you set it.` : "It applies to what arrives from now on."}</p>
      </div>
    `;
  }
  const names = html`<code>${channels.join(", ")}</code>`;
  if (phase === "stopped") return html`<div class="nothing"><p><strong>Not listening</strong></p><p>Press Listen to follow ${names}.</p></div>`;
  if (phase === "rewinding") return html`<div class="nothing"><p><strong>Reading the past of ${names}</strong></p></div>`;
  return html`
    <div class="nothing">
      <p><strong>Waiting for events on ${names}</strong></p>
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
