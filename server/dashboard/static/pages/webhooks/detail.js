// One delivery: what became of it, what may be done about it, its payload, its headers.

import { html, useEffect, useRef, useState } from "../../vendor/htm-preact.js";
import { call } from "../../lib/api.js";
import { duration, plural } from "../../lib/format.js";
import { sentence } from "../../lib/sentence.js";
import { useStore } from "../../lib/store.js";
import { Warning } from "../../view/icons.js";
import { Copied } from "./connect.js";
import { apiOf } from "./one.js";
import { Payload } from "./payload.js";
import { about, State, stateOf, Time } from "./states.js";

export function Detail({ one, known, say, onClose }) {
  const { delivery, error } = useStore(one.view);
  const title = useRef(null);
  useEffect(() => {
    title.current.focus({ preventScroll: true });
    title.current.scrollIntoView({ block: "nearest" });
    const from = new URLSearchParams(location.hash.split("?")[1]).get("id");
    return () => handBack(from);
  }, []);
  const state = delivery && stateOf(delivery);
  const before = useRef(null);
  useEffect(() => {
    if (before.current && state !== before.current) say(`${delivery.type} is now ${about(state).word.toLowerCase()}`);
    before.current = state;
  }, [state]);
  const leave = (press) => {
    if (press.key !== "Escape") return;
    press.stopPropagation();
    onClose();
  };
  return html`
    <section class="card one" aria-labelledby="delivery-title" onKeyDown=${leave}>
      <div class="head">
        <h2 id="delivery-title" class="title" ref=${title} tabindex="-1">${delivery ? delivery.type : "Delivery"}</h2>
        ${delivery && html`<${State} state=${state} />`}
        <button type="button" class="close" aria-label="Close the delivery" onClick=${onClose}><span class="back" aria-hidden="true">← </span><span class="word">Close</span></button>
      </div>
      ${error && html`<p class="notice bad" role="alert"><${Warning} /><span>${error}.</span><button type="button" class="link" onClick=${one.load}>Try again</button></p>`}
      ${delivery && html`
        <div class="inside">
          <${Verdict} delivery=${delivery} state=${state} known=${known} />
          <${Again} delivery=${delivery} one=${one} say=${say} />
          <${Facts} delivery=${delivery} />
          <${Attempts} delivery=${delivery} />
          <section aria-labelledby="payload-title">
            <h3 id="payload-title">Payload</h3>
            <${Payload} body=${delivery.body} size=${delivery.size} />
          </section>
          <${Headers} headers=${delivery.headers} />
        </div>
      `}
    </section>
  `;
}

/** To the line that it was opened from, else to the list. */
function handBack(id) {
  // Another delivery took its place, or another page: they have taken the focus themselves.
  if (document.activeElement !== document.body && !document.activeElement?.closest(".one")) return;
  setTimeout(() => {
    if (document.querySelector(".one") || document.activeElement !== document.body) return;
    const line = [...document.querySelectorAll(".delivery > button")].find((each) => each.dataset.id === id);
    (line ?? document.getElementById("deliveries-title"))?.focus();
  });
}

function Verdict({ delivery, state, known }) {
  const { why, tone } = about(state);
  const paused = state === "pending" && known.some(({ name, paused }) => name === delivery.source && paused);
  return html`
    <div class=${`verdict ${tone}`}>
      <p>${paused ? `It waits: ${delivery.source} is paused.` : why}${state === "retrying" ? html` Next attempt at <${Time} at=${delivery.dueAt} />.` : ""}</p>
      ${delivery.error && html`<p class="mono">${delivery.error}</p>`}
    </div>
  `;
}

function Again({ delivery, one, say }) {
  const [state, set] = useState({});
  const waits = delivery.state === "pending";
  const gone = delivery.body === null;
  const press = async () => {
    if (state.busy) return;
    set({ busy: true });
    const answer = await call("POST", `${apiOf(delivery.id)}/retry`);
    const told = answer.ok ? (waits ? "It is due now." : "It is pending again.") : `Not retried. ${sentence(answer)}.`;
    set({ told, failed: !answer.ok });
    say(told);
    one.load();
  };
  let meaning = "Handled again from the stored payload. A payment counts once; what your own handlers notify comes again.";
  if (waits) meaning = "Its attempts go on counting; it does not wait for its time.";
  if (gone) meaning = "Its payload is no longer kept: there is nothing to handle.";
  return html`
    <div class="again">
      <button type="button" class="primary" aria-disabled=${String(Boolean(state.busy))} disabled=${gone} aria-describedby="again-help" onClick=${press}>${waits ? "Try now" : "Retry"}</button>
      <p class="help" id="again-help">${meaning}</p>
      ${state.told && html`<p class=${state.failed ? "outcome error" : "outcome good"}>${state.told}</p>`}
    </div>
  `;
}

function Facts({ delivery }) {
  const { id, source, key, messageId, eventAt, receivedAt, handledAt, attempts } = delivery;
  return html`
    <dl class="particulars">
      <div><dt>Delivery</dt><dd><${Copied} text=${id} label="the delivery’s id" /></dd></div>
      <div><dt>Message</dt><dd><${Copied} text=${messageId} label="the message’s id" /></dd></div>
      <div><dt>Source</dt><dd>${source}</dd></div>
      <div><dt>Key</dt><dd class=${key ? "mono" : ""}>${key ?? "none: kept in no order"}</dd></div>
      ${eventAt && html`<div><dt>Happened</dt><dd><${Time} at=${eventAt} />, as the sender says</dd></div>`}
      <div><dt>Received</dt><dd><${Time} at=${receivedAt} /></dd></div>
      ${handledAt && html`<div><dt>Handled</dt><dd><${Time} at=${handledAt} />, after ${duration(new Date(handledAt) - new Date(receivedAt))}</dd></div>`}
      <div><dt>Attempts</dt><dd>${attempts}</dd></div>
    </dl>
  `;
}

function Attempts({ delivery: { history, attempts } }) {
  return html`
    <section aria-labelledby="attempts-title">
      <h3 id="attempts-title">Attempts</h3>
      ${history.length === 0 && html`<p class="help">None yet.</p>`}
      <ol class="attempts" role="list" aria-labelledby="attempts-title">
        ${[...history].reverse().map(
          (attempt) => html`
            <li key=${attempt.at}>
              <${State} state=${attempt.state} /><${Time} at=${attempt.at} /><span class="muted">${duration(attempt.ms)}</span>
              ${attempt.error && html`<p class="mono">${attempt.error}</p>`}
            </li>
          `,
        )}
      </ol>
      ${attempts > history.length && html`<p class="help">The last ${plural(history.length, "attempt")} of ${attempts}.</p>`}
    </section>
  `;
}

function Headers({ headers }) {
  const all = Object.entries(headers);
  return html`
    <section aria-labelledby="headers-title">
      <h3 id="headers-title">Headers</h3>
      ${all.length === 0 && html`<p class="help">None kept.</p>`}
      <dl class="headers">${all.map(([name, value]) => html`<div key=${name}><dt class="mono">${name}</dt><dd class="mono">${value}</dd></div>`)}</dl>
    </section>
  `;
}
