// The list of deliveries: how many of each state, a filter, the rows, what to do when there are none.

import { html, useCallback, useEffect, useRef, useState } from "../../vendor/htm-preact.js";
import { ago, count, plural } from "../../lib/format.js";
import { useStore } from "../../lib/store.js";
import { Pause, Play, Warning } from "../../view/icons.js";
import { Connect } from "./connect.js";
import { MOST } from "./deliveries.js";
import { hrefOf, isOpen } from "./filter.js";
import { Filters } from "./filters.js";
import { Replay } from "./replay.js";
import { Row } from "./row.js";
import { about, STATES } from "./states.js";

export function Deliveries({ deliveries, counts, known, filter, open, onOpen, onRefine, say }) {
  const view = useStore(deliveries.view);
  const [paused, pause] = useState(false);
  const [reading, read] = useState(false);
  // Rows must not move from under a keyboard, or from under who has stopped them.
  useEffect(() => deliveries.hold(paused || reading), [paused, reading]);
  const refine = (more) => onRefine({ ...filter, ...more });
  const resume = () => {
    pause(false);
    read(false);
  };
  return html`
    <section class="card deliveries" aria-labelledby="deliveries-title">
      <div class="head">
        <h2 id="deliveries-title" tabindex="-1">Deliveries</h2>
        <${Replay} filter=${filter} say=${say} />
        <button type="button" aria-pressed=${String(paused)} onClick=${() => (paused ? resume() : pause(true))}>
          ${paused ? html`<${Play} />Resume list` : html`<${Pause} />Pause list`}
        </button>
      </div>
      <${Tiles} counts=${counts} filter=${filter} onStates=${(states) => refine({ states })} />
      <${Filters} filter=${filter} known=${known} onRefine=${refine} />
      <${Waiting} known=${known} filter=${filter} />
      <${Fault} view=${view} onAgain=${deliveries.load} />
      <${News} view=${view} filter=${filter} paused=${paused} onResume=${resume} onSearch=${deliveries.load} />
      ${view.rows.length > 0
        ? html`<${Rows} view=${view} open=${open} onOpen=${onOpen} onRead=${read} />`
        : view.loaded && html`<${Empty} filter=${filter} known=${known} onAll=${() => onRefine({ states: [] })} />`}
      <${Footer} view=${view} onMore=${deliveries.more} />
    </section>
  `;
}

/** The states: how many there are of each, and a filter by them. */
function Tiles({ counts, filter, onStates }) {
  const { sources, loaded, complete, pendingSeconds } = useStore(counts.view);
  const counted = sources.filter(({ source }) => !filter.source || source === filter.source);
  const total = (state) => counted.reduce((sum, each) => sum + each[state], 0);
  const toggle = (state) => {
    const rest = filter.states.filter((each) => each !== state);
    onStates(rest.length < filter.states.length ? rest : STATES.filter((each) => each === state || rest.includes(each)));
  };
  const note = {
    pending: pendingSeconds > 45 ? `the oldest for ${ago(Date.now() - pendingSeconds * 1000)}` : "wait or are tried again",
    unmatched: "money that matches nobody",
    dead: "given up",
    done: "of the newest 10,000",
    unhandled: "of the newest 10,000",
  };
  return html`
    <div class="states" role="group" aria-label="Only these states">
      ${STATES.map(
        (state) => html`
          <button type="button" key=${state} class=${`of ${about(state).tone}`} aria-pressed=${String(filter.states.includes(state))} onClick=${() => toggle(state)}>
            <span class="name">${about(state).word}</span>
            <strong>${loaded ? `${count(total(state))}${!complete && total(state) >= 10_000 ? "+" : ""}` : "–"}</strong>
            <span class="note">${note[state]}</span>
          </button>
        `,
      )}
    </div>
  `;
}

/** Why nothing moves. */
function Waiting({ known, filter }) {
  const paused = known.filter((source) => source.paused && (!filter.source || filter.source === source.name));
  if (!paused.length) return null;
  return html`
    <p class="notice"><${Pause} /><span><strong>${paused.map(({ name }) => name).join(", ")}</strong> ${paused.length === 1 ? "is" : "are"} paused:
      what comes is stored, and waits. <a href=${hrefOf({}, { view: "sources" })}>Sources</a></span></p>
  `;
}

function Fault({ view, onAgain }) {
  if (!view.error) return null;
  return html`
    <p class="notice bad" role="alert"><${Warning} /><span>The list could not be loaded. ${view.error}.</span>
      <button type="button" class="link" onClick=${onAgain}>Try again</button></p>
  `;
}

/** What has come and is not in the list. */
function News({ view, filter, paused, onResume, onSearch }) {
  if (filter.q) {
    if (!view.waiting) return null;
    return html`<p class="held"><span><strong>${count(view.waiting)} new</strong> since the search, not searched yet</span>
      <button type="button" class="link" onClick=${onSearch}>Search again</button></p>`;
  }
  if (!view.held || (!paused && !view.waiting)) return null;
  return html`<p class="held"><span>${paused ? "The list is paused" : "Holding still while you read"}${view.waiting > 0 ? html` · <strong>${count(view.waiting)} new</strong>` : ""}</span>
    <button type="button" class="link" onClick=${onResume}>${view.waiting > 0 ? "Show them" : "Resume"}</button></p>`;
}

function Rows({ view, open, onOpen, onRead }) {
  const list = useRef(null);
  const current = useRef(onOpen);
  current.current = onOpen;
  const press = useCallback((id) => current.current(id), []);
  // One stop for the Tab key; the arrows move inside.
  const stop = view.rows.some(({ id }) => id === open) ? open : view.rows[0].id;
  const move = (key) => {
    const step = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[key.key];
    const lines = [...list.current.querySelectorAll("button")];
    const at = lines.indexOf(document.activeElement);
    if (!step || at < 0) return;
    key.preventDefault();
    lines[Math.min(lines.length - 1, Math.max(0, at + step))].focus();
  };
  const enter = (focus) => focus.target.matches(":focus-visible") && onRead(true);
  const leave = (blur) => !list.current?.contains(blur.relatedTarget) && onRead(false);
  return html`
    <div class="columns" aria-hidden="true">
      <span>State</span><span>Type</span><span class="source">Source</span><span class="key">Key</span>
      <span class="tries">Attempts</span><span class="due">Next due</span><span class="when">Received</span>
    </div>
    <ol class="rows" role="list" aria-label="Deliveries, newest first" ref=${list} onKeyDown=${move} onfocusin=${enter} onfocusout=${leave}>
      ${view.rows.map((row) => html`<${Row} key=${row.id} row=${row} open=${row.id === open} stop=${row.id === stop}
        fresh=${view.churn > 0 && view.churn <= 8} onOpen=${press} />`)}
    </ol>
  `;
}

function Empty({ filter, known, onAll }) {
  if (!isOpen(filter)) return html`<${Connect} known=${known} />`;
  return html`
    <div class="nothing">
      <p><strong>No delivery fits this filter</strong></p>
      <p>${filter.q ? "A text is looked for in the payloads that are still kept." : "What comes and fits appears here by itself."}</p>
      <p><button type="button" class="link" onClick=${onAll}>Show all deliveries</button></p>
    </div>
  `;
}

function Footer({ view, onMore }) {
  if (!view.rows.length) return null;
  const said = view.older ? `The newest ${plural(view.rows.length, "delivery", "deliveries")}` : plural(view.rows.length, "delivery", "deliveries");
  return html`
    <div class="foot more">
      <span>${said}${view.older && view.limit >= MOST ? "; there are older ones: narrow the filter to see them" : ""}</span>
      ${view.older && view.limit < MOST && html`<button type="button" class="link" disabled=${view.busy} onClick=${onMore}>Show older ones</button>`}
    </div>
  `;
}
