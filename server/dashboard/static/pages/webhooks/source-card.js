// One source: its door, what it has delivered, and what may be changed about it.

import { html, useRef, useState } from "../../vendor/htm-preact.js";
import { call } from "../../lib/api.js";
import { count, plural } from "../../lib/format.js";
import { sentence } from "../../lib/sentence.js";
import { Bin, Pause, Play } from "../../view/icons.js";
import { SureButton } from "../../view/sure-button.js";
import { commandOf, Copied, Door, urlOf } from "./connect.js";
import { hrefOf } from "./filter.js";
import { Secret } from "./secret.js";
import { about, STATES, Time } from "./states.js";

const PATH = "/api/webhooks/sources";

export function SourceCard({ source, counts, loaded, say, onChanged, onRemoved }) {
  const { name, builtin, paused, channel, scheme } = source;
  const [fault, setFault] = useState("");
  const [busy, work] = useState(false);
  const own = `${PATH}/${encodeURIComponent(name)}`;
  const change = async (method, path, body, told) => {
    if (busy) return null;
    work(true);
    const answer = await call(method, path, { body: body && JSON.stringify(body) });
    work(false);
    setFault(answer.ok ? "" : `${sentence(answer)}.`);
    say(answer.ok ? told : `${name} was not changed. ${sentence(answer)}`);
    if (answer.ok && told) onChanged();
    return answer;
  };
  const pause = () => change("PATCH", own, { paused: !paused }, paused ? `${name} goes on` : `${name} is paused: what comes is stored, and waits`);
  const remove = async () => {
    const answer = await change("DELETE", own, undefined, "");
    if (answer?.ok) onRemoved(name);
  };
  const id = `source-${name}`;
  return html`
    <li class="card source-card">
      <div class="head">
        <h2 id=${id}>${name}</h2>
        <${Door} source=${source} />
        ${builtin && html`<span class="tag">built in</span>`}
        <button type="button" aria-label=${`${paused ? "Resume" : "Pause"} ${name}`} aria-disabled=${String(busy)} onClick=${pause}>${paused ? html`<${Play} />Resume` : html`<${Pause} />Pause`}</button>
        ${!builtin && html`<${SureButton} label=${`Delete ${name}`} onSure=${() => remove(source)} again="Delete?"><${Bin} /><//>`}
      </div>
      <div class="inside">
        ${fault && html`<p class="help error" role="alert">${fault}</p>`}
        <${Counted} name=${name} counts=${counts} loaded=${loaded} />
        <dl class="particulars">
          <div><dt>Address</dt><dd><${Copied} text=${urlOf(source)} label=${`the address for ${name}`} /></dd></div>
          <div><dt>Secret</dt><dd><${Secrets} source=${source} change=${change} own=${own} /></dd></div>
          ${scheme && html`<div><dt>Signed by</dt><dd>${scheme.header ? html`${scheme.algorithm} in <code>${scheme.header}</code>` : "Standard Webhooks"}</dd></div>`}
          ${!builtin && html`<div><dt>Channel</dt><dd>${channel ? html`<code>${channel}</code>` : "none: deliveries are stored, and end as unhandled"}</dd></div>`}
          ${source.open && html`<div><dt>Send a test</dt><dd><${Copied} text=${commandOf(source)} label=${`the command for ${name}`} /></dd></div>`}
        </dl>
      </div>
    </li>
  `;
}

function Counted({ name, counts, loaded }) {
  const there = STATES.filter((state) => counts?.[state]);
  if (!loaded) return null;
  if (!there.length) return html`<p class="muted">No deliveries yet.</p>`;
  return html`
    <ul class="counted" role="list" aria-label=${`Deliveries of ${name}`}>
      ${there.map((state) => html`<li key=${state}><a class=${`state ${about(state).tone}`} href=${hrefOf({ source: name, states: [state] })}>${count(counts[state])} ${about(state).word.toLowerCase()}</a></li>`)}
    </ul>
  `;
}

function Secrets({ source, change, own }) {
  const { name, builtin, setting, open, secrets } = source;
  const [rotating, rotate] = useState(false);
  const [made, setMade] = useState(null);
  const button = useRef(null);
  if (builtin) return open ? html`<code>${setting}</code> is set` : html`Set <code>${setting}</code> and restart the server: until then its door answers 404`;
  const add = async (submit) => {
    submit.preventDefault();
    const { overlap, secret } = submit.target.elements;
    const body = { overlapSeconds: Number(overlap.value), ...(secret.value && { secret: secret.value }) };
    const answer = await change("POST", `${own}/secrets`, body, `${name} has a new secret`);
    if (!answer?.ok) return;
    rotate(false);
    setMade(answer.data);
  };
  const end = async (id) => {
    await change("DELETE", `${own}/secrets/${encodeURIComponent(id)}`, undefined, "The secret is no longer good");
    button.current?.focus();
  };
  return html`
    <ul class="secrets" role="list" aria-label=${`Secrets of ${name}`}>
      ${secrets.map(
        ({ id, createdAt, expiresAt }) => html`
          <li key=${id}><span>since <${Time} at=${createdAt} />${expiresAt && html`, good until <${Time} at=${expiresAt} />`}</span>
            ${expiresAt && html`<${SureButton} label=${`Delete the secret since ${createdAt}`} onSure=${() => end(id)} again="Delete?"><${Bin} /><//>`}</li>
        `,
      )}
    </ul>
    ${made && html`<${Secret} source=${name} secret=${made.secret} onDone=${() => {
      setMade(null);
      button.current?.focus();
    }} />`}
    <button type="button" ref=${button} class="link" aria-expanded=${String(rotating)} onClick=${() => rotate(!rotating)}>Rotate …</button>
    ${rotating && html`<${Rotation} name=${name} others=${secrets.length} onSubmit=${add} />`}
  `;
}

const OVERLAPS = [[86_400, "for another day"], [604_800, "for another week"], [3_600, "for another hour"], [0, "not a moment longer"]];

function Rotation({ name, others, onSubmit }) {
  return html`
    <form class="rotation" aria-label=${`Rotate the secret of ${name}`} onSubmit=${onSubmit}>
      <label><span>${plural(others, "The former one is", "The former ones are").replace(/^\d+ /, "")} good</span>
        <select name="overlap">${OVERLAPS.map(([seconds, label]) => html`<option key=${seconds} value=${seconds}>${label}</option>`)}</select></label>
      <label><span>New secret</span><input name="secret" class="mono" type="password" autocomplete="off" placeholder="empty: one is made, and shown once" /></label>
      <button type="submit" class="primary">Add the new secret</button>
    </form>
  `;
}
