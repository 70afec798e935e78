// One event as a line, and opened: its data as it was sent, and the frame it came in.
// Everything that came from outside is a text node; nothing is ever read as markup.

import { Component, html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { clock, duration } from "../lib/format.js";
import { member, pretty } from "../lib/json-text.js";
import { CopyButton } from "./copy.js";
import { Chevron, Warning } from "./icons.js";

const PREVIEW = 240;
const SHOWN = 20_000; // characters of one event's data; more would freeze the page
const HUES = 8;

export class EventRow extends Component {
  constructor(props) {
    super(props);
    const { raw, channel } = props.row;
    // Once per row: rows are redrawn far more often than they are made.
    this.preview = (member(raw.slice(0, 4 * PREVIEW), "data") || dataStart(raw)).slice(0, PREVIEW);
    this.hue = hueOf(channel);
    this.fresh = props.fresh ? "fresh" : "";
  }

  shouldComponentUpdate(next) {
    return next.open !== this.props.open || next.first !== this.props.first;
  }

  render({ row, open, first, onToggle }) {
    const id = `event-${row.number}`;
    return html`
      <li class=${`row ${this.fresh} ${open ? "open" : ""}`}>
        <button type="button" class="line" tabindex=${first || open ? 0 : -1} aria-expanded=${String(open)}
          aria-controls=${open ? id : undefined} onClick=${() => onToggle(row.number)}>
          <${Chevron} />
          <time class="mono" datetime=${isoTime(row.at)}>${clock(row.at)}</time>
          <span class=${`channel hue-${this.hue}`}><i class="swatch"></i><span>${row.channel || "–"}</span></span>
          <span class="type">${row.type || "–"}</span>
          <span class="key mono">${row.key}</span>
          <span class="preview mono">${this.preview}</span>
        </button>
        ${open && html`<${Detail} row=${row} id=${id} />`}
      </li>
    `;
  }
}

export function GapRow({ row }) {
  return html`
    <li class="row gap">
      <${Warning} />
      <div>
        <strong>Events are missing: ${GAPS[row.reason] ?? row.reason ?? "unknown reason"}</strong>
        <p class="mono">${row.after ? `after ${row.after} ` : ""}resumed at ${row.resumed ?? "the head"} · ${clock(row.received)}</p>
      </div>
    </li>
  `;
}

const GAPS = {
  pruned: "they are older than what the log keeps (pruned)",
  epoch: "the database was restored or replaced (epoch)",
  ahead: "this position lies ahead of the database (ahead)",
  malformed: "the position could not be read (malformed)",
};

function Detail({ row, id }) {
  const [raw, showRaw] = useState(false);
  const box = useRef(null);
  useEffect(() => box.current.closest(".row").scrollIntoView({ block: "nearest" }), []);
  const data = member(row.raw, "data") || row.raw;
  const text = raw ? frame(row) : data;
  return html`
    <div class="detail" id=${id} ref=${box}>
      <dl class="meta">
        <div><dt>Position</dt><dd class="mono">${row.id || "none: ephemeral, never replayed"}</dd></div>
        ${row.messageId && html`<div><dt>Message</dt><dd class="mono">${row.messageId}</dd></div>`}
        <div><dt>Here after</dt><dd>${duration(row.received - row.at)}</dd></div>
      </dl>
      <div class="tools">
        <div class="segments" role="group" aria-label="Show">
          <button type="button" aria-pressed=${String(!raw)} onClick=${() => showRaw(false)}>Data</button>
          <button type="button" aria-pressed=${String(raw)} onClick=${() => showRaw(true)}>Raw frame</button>
        </div>
        <${CopyButton} text=${text} label=${raw ? "Copy the frame" : "Copy the data"} />
      </div>
      <pre class="code" role="group" tabindex="0" aria-label=${raw ? "Raw frame" : "Data"}>${raw ? clip(text) : html`<${Json} text=${text} />`}</pre>
    </div>
  `;
}

function Json({ text }) {
  const parts = pretty(text.slice(0, SHOWN));
  return html`
    ${parts.length ? parts.map(([kind, piece]) => (kind === "plain" ? piece : html`<span class=${kind}>${piece}</span>`)) : clip(text)}
    ${text.length > SHOWN && `\n… cut here: ${text.length - SHOWN} more characters; Copy takes all`}
  `;
}

const clip = (text) => (text.length > SHOWN ? `${text.slice(0, SHOWN)}\n… cut here` : text);

/** The frame as it was on the wire, put together again: the browser hands out only its fields. */
function frame(row) {
  const id = row.id ? `id: ${row.id}\n` : "";
  const lines = row.raw.split("\n").map((line) => `data: ${line}`);
  return `${id}${lines.join("\n")}\n\n`;
}

/** The beginning of a long event's data, whose end lies beyond the preview. */
function dataStart(raw) {
  const at = raw.indexOf('"data":');
  return at < 0 ? raw.slice(0, PREVIEW) : raw.slice(at + 7, at + 7 + PREVIEW);
}

function isoTime(at) {
  return new Date(at).toISOString();
}

// In the order of appearance: the first channels of a page never share a colour.
const hues = new Map();

function hueOf(channel) {
  if (!hues.has(channel)) {
    if (hues.size > 2000) hues.clear();
    hues.set(channel, hues.size % HUES);
  }
  return hues.get(channel);
}
