// The filter's fields. Each applies when it is left or confirmed, and stands in the address.

import { html } from "../../vendor/htm-preact.js";
import { isOpen } from "./filter.js";

const SPANS = [["", "Any time"], ["1h", "The last hour"], ["24h", "The last 24 hours"], ["7d", "The last 7 days"], ["30d", "The last 30 days"]];

export function Filters({ filter, known, onRefine }) {
  const set = (name) => (change) => onRefine({ [name]: change.target.value.trim() });
  const spans = SPANS.some(([value]) => value === filter.since) ? SPANS : [...SPANS, [filter.since, `Since ${filter.since}`]];
  const names = [...new Set([...known.map(({ name }) => name), filter.source].filter(Boolean))];
  const text = { type: "search", spellcheck: false, autocomplete: "off", autocapitalize: "none" };
  return html`
    <form class="filters" role="search" aria-label="Deliveries" onSubmit=${(submit) => submit.preventDefault()}>
      <label><span>Source</span>
        <select value=${filter.source} onChange=${set("source")}>
          <option value="">All sources</option>
          ${names.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
        </select>
      </label>
      <label><span>Type</span><input ...${text} class="mono" placeholder="payment.*" value=${filter.type} onChange=${set("type")} /></label>
      <label><span>Key</span><input ...${text} class="mono" placeholder="cus_…" value=${filter.key} onChange=${set("key")} /></label>
      <label class="wide"><span>Text in the payload</span><input ...${text} placeholder="an address, an id, …" minlength="2" value=${filter.q} onChange=${set("q")} /></label>
      <label><span>Received</span>
        <select value=${filter.since} onChange=${set("since")}>
          ${spans.map(([value, label]) => html`<option key=${value} value=${value}>${label}</option>`)}
        </select>
      </label>
      <button type="submit" class="visually-hidden" tabindex="-1">Apply</button>
      ${isOpen(filter) && html`<button type="button" class="link" onClick=${(click) => clear(click, onRefine)}>Clear</button>`}
    </form>
  `;
}

/** The button that was pressed goes: its focus moves on to the first field. */
function clear(click, onRefine) {
  click.target.form.elements[0].focus();
  onRefine({ states: [], source: "", type: "", key: "", q: "", since: "" });
}
