// One event as a line that opens; and what is no event but stands between them.
// Everything that came from outside is a text node; nothing is ever read as markup.

import { Component, html } from "../vendor/htm-preact.js";
import { clock } from "../lib/format.js";
import { dataAt } from "../lib/frame.js";
import { member } from "../lib/json-text.js";
import { EventDetail } from "./event-detail.js";
import { Chevron, Pulse, Warning } from "./icons.js";

const PREVIEW = 240;
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
        ${open && html`<${EventDetail} row=${row} id=${id} />`}
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

/** What the server, or this page, has to say of the stream itself. */
export function NoteRow({ row }) {
  return html`
    <li class="row note">
      <${Pulse} />
      <p><strong>${row.name}</strong> ${row.text}</p>
      <time class="mono" datetime=${isoTime(row.received)}>${clock(row.received)}</time>
    </li>
  `;
}

const GAPS = {
  pruned: "they are older than what the log keeps (pruned)",
  epoch: "the database was restored or replaced (epoch)",
  ahead: "this position lies ahead of the database (ahead)",
  malformed: "the position could not be read (malformed)",
};

/** The beginning of a long event's data, whose end lies beyond the preview. */
const dataStart = (raw) => raw.slice(dataAt(raw), dataAt(raw) + PREVIEW);

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
