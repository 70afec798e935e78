// What a sender wrote, as text: never parsed and printed again, never markup, bounded.

import { html, useState } from "../../vendor/htm-preact.js";
import { bytes, count } from "../../lib/format.js";
import { pretty } from "../../lib/json-text.js";
import { CopyButton } from "../../view/copy.js";

const SHOWN = 20_000; // characters; more would freeze the page

export function Payload({ body, size }) {
  const [raw, showRaw] = useState(false);
  if (body === null) return html`<p class="help">No longer kept. What is done keeps its payload for <code>TAILRACE_WEBHOOK_RETAIN_PAYLOADS</code>.</p>`;
  const start = body.slice(0, SHOWN);
  const parts = raw ? [] : pretty(start);
  return html`
    <div class="tools">
      <div class="segments" role="group" aria-label="Show the payload">
        <button type="button" aria-pressed=${String(!raw)} onClick=${() => showRaw(false)}>Indented</button>
        <button type="button" aria-pressed=${String(raw)} onClick=${() => showRaw(true)}>As sent</button>
      </div>
      <span class="muted">${bytes(size)}</span>
      <${CopyButton} text=${body} label="Copy the payload" />
    </div>
    <pre class="code" role="group" tabindex="0" aria-label="Payload">${parts.length
      ? parts.map(([kind, piece]) => (kind === "plain" ? piece : html`<span class=${kind}>${piece}</span>`))
      : start}${body.length > SHOWN && `\n… cut here: ${count(body.length - SHOWN)} more characters; Copy takes all`}</pre>
  `;
}
