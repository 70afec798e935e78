// One key, without the key.

import { html } from "../../vendor/htm-preact.js";
import { ago } from "../../lib/format.js";
import { Bin } from "../../view/icons.js";
import { SureButton } from "../../view/sure-button.js";

export function KeyRow({ item, onDelete }) {
  const { name, start, scopes, channels, rate, expiresAt, lastUsedAt, createdAt } = item;
  const isOver = expiresAt && new Date(expiresAt) <= new Date();
  return html`
    <li class=${isOver ? "entry over" : "entry"}>
      <div class="line1">
        <strong class="clip" title=${name}>${name}</strong>
        <code class="muted">${start}…</code>
        ${isOver && html`<span class="tag past">expired</span>`}
        <span class="tools"><${SureButton} label=${`Delete ${name}`} onSure=${() => onDelete(item)} again="Delete?"><${Bin} /><//></span>
      </div>
      <p class="tags">${scopes.map((scope) => html`<span class="tag">${scope}</span>`)}${channels.map((channel) => html`<code class="tag">${channel}</code>`)}</p>
      <dl class="facts1">
        <div><dt>Last used</dt><dd>${lastUsedAt ? past(lastUsedAt) : "never"}</dd></div>
        <div><dt>Expires</dt><dd>${expiresAt ? day(expiresAt) : "never"}</dd></div>
        <div><dt>Made</dt><dd>${past(createdAt)}</dd></div>
        <div><dt>Limit</dt><dd>${rate.requests.toLocaleString("en")} in ${rate.seconds} s</dd></div>
      </dl>
    </li>
  `;
}

function past(at) {
  const when = ago(at);
  return html`<time datetime=${at} title=${new Date(at).toLocaleString()}>${when === "now" ? "just now" : `${when} ago`}</time>`;
}

const day = (at) => html`<time datetime=${at} title=${new Date(at).toLocaleString()}>${new Date(at).toISOString().slice(0, 10)}</time>`;
