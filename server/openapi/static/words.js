// The little Markdown that descriptions use: paragraphs, `code`, **strong**.

import { html } from "/static/vendor/htm-preact.js";

const MARKS = /(`[^`]+`|\*\*[^*]+\*\*)/;

function mark(part) {
  if (part.startsWith("`")) return html`<code>${part.slice(1, -1)}</code>`;
  if (part.startsWith("**")) return html`<strong>${part.slice(2, -2)}</strong>`;
  return part;
}

export function Words({ text = "", inline = false }) {
  if (inline) return html`<span class="words">${text.split(MARKS).map(mark)}</span>`;
  return text.split(/\n\n+/).map((part) => html`<p class="words">${part.split(MARKS).map(mark)}</p>`);
}
