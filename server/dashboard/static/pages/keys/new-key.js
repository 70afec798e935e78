// The form of a new key. What is right is the server's business; it is said beside the field.

import { html, useRef, useState } from "../../vendor/htm-preact.js";
import { parseList } from "../../lib/channels.js";
import { NO_FAULTS, faultsOf } from "../../lib/faults.js";
import { Field, Refusal, useFaultFocus } from "../../view/form.js";

const SCOPES = {
  publish: "Publish to its channels",
  read: "Read its channels",
  notify: "Notify users",
  webhooks: "See and replay deliveries",
  uploads: "Upload files",
};
const NAMES = { name: "One line, please", scopes: "", channels: "", expiresAt: "", rate: "" };
const DAYS = { "": "Never", 7: "In 7 days", 30: "In 30 days", 90: "In 90 days", 365: "In a year", at: "On a day …" };
const EMPTY = { name: "", scopes: ["publish", "read"], channels: "public.>", lasts: "90", at: "", requests: "1000", seconds: "10" };

export function NewKey({ onCreate }) {
  const [draft, setDraft] = useState(EMPTY);
  const [faults, setFaults] = useState(NO_FAULTS);
  const [busy, work] = useState(false);
  const form = useRef(null);
  useFaultFocus(form, faults);
  const set = (more) => setDraft((now) => ({ ...now, ...more }));
  const edit = (name) => (input) => set({ [name]: input.target.value });
  const toggle = (scope) => ({ target }) =>
    set({ scopes: target.checked ? [...draft.scopes, scope] : draft.scopes.filter((each) => each !== scope) });

  const submit = async (event) => {
    event.preventDefault();
    if (busy) return;
    const { body, beside } = bodyOf(draft);
    if (beside) return setFaults({ ...NO_FAULTS, beside });
    work(true);
    const answer = await onCreate(body);
    work(false);
    setFaults(answer.ok ? NO_FAULTS : faultsOf(answer, NAMES));
    if (answer.ok) setDraft(EMPTY);
  };
  const { beside } = faults;
  return html`
    <section class="card" aria-labelledby="new-key-title">
      <div class="head"><h2 id="new-key-title">New key</h2></div>
      <form class="fields" onSubmit=${submit} novalidate ref=${form}>
        <${Field} id="key-name" label="Name" help="Who will use it: you tell keys apart by it." fault=${beside.name}>
          ${(more) => html`<input ...${more} value=${draft.name} autocomplete="off" onInput=${edit("name")} />`}
        <//>
        <fieldset aria-describedby=${beside.scopes ? "scopes-fault" : undefined}>
          <legend>It may</legend>
          ${Object.entries(SCOPES).map(
            ([scope, what], at) => html`
              <label class="check"><input type="checkbox" checked=${draft.scopes.includes(scope)} aria-invalid=${beside.scopes && at === 0 ? "true" : undefined} onChange=${toggle(scope)} /><span>${what}</span> <code class="muted">${scope}</code></label>
            `,
          )}
          ${beside.scopes && html`<p id="scopes-fault" class="help error">${beside.scopes}</p>`}
        </fieldset>
        <${Field} id="key-channels" label="Channels" help="Comma separated; * is one part of a name, a final > the rest." fault=${beside.channels}>
          ${(more) => html`<input ...${more} class="mono" value=${draft.channels} spellcheck=${false} autocomplete="off" autocapitalize="none" onInput=${edit("channels")} />`}
        <//>
        <div class="pair even">
          <${Field} id="key-lasts" label="It ends" fault=${draft.lasts === "at" ? "" : beside.expiresAt}>
            ${(more) => html`<select ...${more} value=${draft.lasts} onChange=${edit("lasts")}>${Object.entries(DAYS).map(([value, text]) => html`<option value=${value}>${text}</option>`)}</select>`}
          <//>
          ${draft.lasts === "at" && html`
            <${Field} id="key-at" label="Day" fault=${beside.expiresAt}>${(more) => html`<input ...${more} type="date" value=${draft.at} onInput=${edit("at")} />`}<//>
          `}
        </div>
        <details open=${beside.rate ? true : undefined}>
          <summary>Limit of requests</summary>
          <div class="pair even">
            <${Field} id="key-requests" label="Requests" fault=${beside.rate}>${(more) => html`<input ...${more} inputmode="numeric" value=${draft.requests} onInput=${edit("requests")} />`}<//>
            <${Field} id="key-seconds" label="In any … seconds">${(more) => html`<input ...${more} inputmode="numeric" value=${draft.seconds} onInput=${edit("seconds")} />`}<//>
          </div>
        </details>
        <${Refusal} faults=${faults} />
        <div class="submit"><button type="submit" class="primary" disabled=${busy}>Make the key</button></div>
      </form>
    </section>
  `;
}

/** What is sent; `beside`: why it cannot be, as no request could say it. */
function bodyOf({ name, scopes, channels, lasts, at, requests, seconds }) {
  const list = channels.trim() ? parseList(channels) : { channels: [] };
  const beside = {};
  if (list.error) beside.channels = list.error;
  const end = lasts === "at" ? new Date(`${at}T23:59:59`) : lasts && new Date(Date.now() + Number(lasts) * 86_400_000);
  if (end && Number.isNaN(end.getTime())) beside.expiresAt = "Choose a day";
  if (Object.keys(beside).length) return { beside };
  const rate = { requests: Number(requests) || 0, seconds: Number(seconds) || 0 };
  return { body: { name, scopes, channels: list.channels, rate, expiresAt: end ? end.toISOString() : null } };
}
