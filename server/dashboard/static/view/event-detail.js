// An opened event: its data beside the frame it came in; where there is no room, one of the two.
// Everything that came from outside is a text node; nothing is ever read as markup.

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { duration } from "../lib/format.js";
import { frameOf } from "../lib/frame.js";
import { member, pretty } from "../lib/json-text.js";
import { CopyButton } from "./copy.js";

const SHOWN = 20_000; // characters of one event's data; more would freeze the page

export function EventDetail({ row, id }) {
  const [raw, showRaw] = useState(false);
  const box = useRef(null);
  useEffect(() => box.current.closest(".row").scrollIntoView({ block: "nearest" }), []);
  const data = member(row.raw, "data") || row.raw;
  return html`
    <div class=${raw ? "detail raw" : "detail"} id=${id} ref=${box}>
      <dl class="meta">
        <div><dt>Position</dt><dd class="mono">${row.id || "none: ephemeral, never replayed"}</dd></div>
        ${row.messageId && html`<div><dt>Message</dt><dd class="mono">${row.messageId}</dd></div>`}
        ${row.received ? html`<div><dt>Here after</dt><dd>${duration(row.received - row.at)}</dd></div>` : html`<div><dt>Read</dt><dd>from the log</dd></div>`}
      </dl>
      <div class="segments" role="group" aria-label="Show">
        <button type="button" aria-pressed=${String(!raw)} onClick=${() => showRaw(false)}>Data</button>
        <button type="button" aria-pressed=${String(raw)} onClick=${() => showRaw(true)}>Raw frame</button>
      </div>
      <div class="views">
        <${Pane} kind="parsed" title="Data" text=${data} copy="Copy the data"><${Json} text=${data} /><//>
        <${Pane} kind="wire" title="Raw frame" text=${frameOf(row)} copy="Copy the frame">${clip(frameOf(row))}<//>
      </div>
    </div>
  `;
}

function Pane({ kind, title, text, copy, children }) {
  return html`
    <div class=${`pane ${kind}`}>
      <div class="tools"><h3>${title}</h3><${CopyButton} text=${text} label=${copy} /></div>
      <pre class="code" role="group" tabindex="0" aria-label=${title}>${children}</pre>
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
