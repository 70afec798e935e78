// A source of one's own: its name, how it signs, where its events go.

import { html, useState } from "../../vendor/htm-preact.js";
import { call } from "../../lib/api.js";

const PATH = "/api/webhooks/sources";
const SCHEME = ["header", "algorithm", "encoding", "prefix", "id_header", "timestamp_header", "template"];

export function NewSource({ onMade }) {
  const [kind, setKind] = useState("standard");
  const [fault, setFault] = useState(null);
  const [busy, work] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    if (busy) return;
    const form = event.target;
    const given = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()]).filter(([, value]) => value));
    const { name, channel, secret, kind: chosen } = given;
    const scheme = { kind: chosen, ...Object.fromEntries(SCHEME.filter((each) => given[each]).map((each) => [each, given[each]])) };
    work(true);
    const answer = await call("POST", PATH, { body: JSON.stringify({ name, scheme, channel, secret }) });
    work(false);
    setFault(answer.ok ? null : answer);
    if (!answer.ok) return;
    form.reset();
    setKind("standard");
    onMade(answer.data);
  };
  const plain = { spellcheck: false, autocomplete: "off", autocapitalize: "none" };
  return html`
    <section class="card" aria-labelledby="new-source-title">
      <div class="head"><h2 id="new-source-title">New source</h2></div>
      <form class="fields" onSubmit=${submit}>
        <p class="help">Anything that signs its webhooks can deliver to a door of its own.</p>
        <div class="field"><label for="new-name">Name</label>
          <input id="new-name" name="name" class="mono" required pattern="[a-z0-9][a-z0-9_\\-]{0,49}" title="a–z, 0–9, _ and -, up to 50 characters" placeholder="acme" ...${plain} /></div>
        <div class="field"><label for="new-kind">Signed by</label>
          <select id="new-kind" name="kind" value=${kind} onChange=${(change) => setKind(change.target.value)}>
            <option value="standard">Standard Webhooks (and Svix)</option>
            <option value="hmac">An HMAC in a header</option>
          </select></div>
        ${kind === "hmac" && html`<${Hmac} plain=${plain} />`}
        <div class="field"><label for="new-channel">Publish its events on <span class="muted">(optional)</span></label>
          <input id="new-channel" name="channel" class="mono" placeholder="public.acme" aria-describedby="new-channel-help" ...${plain} />
          <p class="help" id="new-channel-help">Without a channel its deliveries are stored, and nothing is done with them.</p></div>
        <div class="field"><label for="new-secret">Secret <span class="muted">(optional)</span></label>
          <input id="new-secret" name="secret" class="mono" type="password" placeholder="empty: one is made, and shown once" autocomplete="off" /></div>
        <div class="submit"><button type="submit" class="primary" aria-disabled=${String(busy)}>Make the source</button></div>
        ${fault && html`<${Fault} fault=${fault} />`}
      </form>
    </section>
  `;
}

function Hmac({ plain }) {
  const field = (name, label, placeholder, more = {}) => html`
    <div class="field"><label for=${`new-${name}`}>${label}</label><input id=${`new-${name}`} name=${name} class="mono" placeholder=${placeholder} ...${plain} ...${more} /></div>
  `;
  const choice = (name, label, values) => html`
    <div class="field"><label for=${`new-${name}`}>${label}</label><select id=${`new-${name}`} name=${name}>${values.map((value) => html`<option key=${value}>${value}</option>`)}</select></div>
  `;
  return html`
    ${field("header", "Header of the signature", "X-Acme-Signature", { required: true })}
    <div class="pair even">${choice("algorithm", "Algorithm", ["sha256", "sha512", "sha1"])}${choice("encoding", "Encoding", ["hex", "base64"])}</div>
    <details>
      <summary>Prefix, time, id</summary>
      <div class="fields inner">
        ${field("prefix", "What stands before the signature", "v0=")}
        ${field("timestamp_header", "Header of the time (Unix seconds)", "X-Slack-Request-Timestamp")}
        ${field("template", "What is signed", "{timestamp}.{body}")}
        ${field("id_header", "Header of the delivery’s id", "X-Shopify-Webhook-Id")}
      </div>
    </details>
  `;
}

function Fault({ fault }) {
  const said = fault.issues.map(({ path, message }) => [path, message].filter(Boolean).join(": "));
  return html`<p class="help error" role="alert">${fault.error}${said.length ? `: ${said.join("; ")}` : fault.detail && `: ${fault.detail}`}.</p>`;
}
