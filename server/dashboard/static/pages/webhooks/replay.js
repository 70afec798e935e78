// Many deliveries handled again: counted first, and done only after that was seen.

import { html, useEffect, useRef, useState } from "../../vendor/htm-preact.js";
import { call } from "../../lib/api.js";
import { count, plural } from "../../lib/format.js";
import { sentence } from "../../lib/sentence.js";
import { replayOf, toParams } from "./filter.js";
import { about } from "./states.js";

const API = "/api/webhooks/deliveries/replay";

export function Replay({ filter, say }) {
  const [plan, setPlan] = useState(null);
  const dialog = useRef(null);
  const wanted = replayOf(filter);
  useEffect(() => {
    if (!plan) return;
    if (!dialog.current.open) dialog.current.showModal();
    // The button that was pressed may be gone.
    if (!dialog.current.contains(document.activeElement)) dialog.current.querySelector("button:last-child").focus();
  }, [plan]);

  const ask = async (dryRun) => {
    setPlan({ busy: true });
    const answer = await call("POST", API, { body: JSON.stringify({ ...wanted, dryRun }) });
    if (!answer.ok) return setPlan({ fault: sentence(answer) });
    setPlan({ ...answer.data, counted: dryRun });
    if (!dryRun) say(outcome(answer.data));
  };
  return html`
    <button type="button" disabled=${!wanted} title=${wanted ? undefined : "What is pending is tried by itself"} onClick=${() => ask(true)}>Retry many …</button>
    <dialog ref=${dialog} class="dialog" aria-labelledby="replay-title" onClose=${() => setPlan(null)}>
      ${plan && html`
        <h2 id="replay-title">Retry many deliveries</h2>
        <p>${wanted && scope(filter, wanted)} Each is handled again from its stored payload, the oldest first. Payments count once, however often they are handled; what your own handlers notify comes again.</p>
        <p class="plan" role="status">${words(plan)}</p>
        <div class="buttons">
          ${plan.matched > 0 && (plan.counted || plan.more) && html`<button type="button" class="primary" onClick=${() => ask(false)}>Retry ${plan.counted ? count(plan.matched) : "the others"}</button>`}
          <button type="button" onClick=${() => dialog.current.close()}>${plan.counted && plan.matched > 0 ? "Cancel" : "Close"}</button>
        </div>
      `}
    </dialog>
  `;
}

function scope(filter, { state }) {
  const narrowed = Object.values(toParams({ ...filter, states: [] })).some(Boolean);
  const which = state.map((each) => about(each).word.toLowerCase()).join(" or ");
  return `All that are ${which}${narrowed ? " and fit the filter" : ""}.`;
}

function words(plan) {
  if (plan.busy) return "One moment …";
  if (plan.fault) return html`<span class="error">${plan.fault}.</span>`;
  if (!plan.counted) return outcome(plan);
  if (!plan.matched) return "There are none.";
  return `${plural(plan.matched, "delivery", "deliveries")}${plan.more ? ", and there are more: at most 1,000 go at a time" : ""}.`;
}

function outcome({ replayed, more }) {
  return `${plural(replayed, "delivery is", "deliveries are")} pending again${more ? "; there are more" : ""}.`;
}
