// Publish an event, and see how long it took to come back on this page's stream.

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { call } from "../lib/api.js";
import { isName } from "../lib/channels.js";
import { duration } from "../lib/format.js";
import { SIGN_IN } from "./banner.js";

const EXAMPLE = '{\n  "n": 1,\n  "text": "hello"\n}';

export function Publish({ echo, onRefused, title = "Publish", channel = "public.hello" }) {
  const [draft, setDraft] = useState({ channel, type: "greeting", data: EXAMPLE });
  useEffect(() => setDraft((now) => ({ ...now, channel })), [channel]);
  const [checked, check] = useState(false);
  const [result, setResult] = useState(null);
  const [keyOpen, openKey] = useState(false);
  const key = useRef(null); // read when needed and kept nowhere else

  const faults = faultsOf(draft);
  const shown = checked ? faults : { data: draft.data.trim() ? faults.data : "" };
  const edit = (name) => (input) => setDraft({ ...draft, [name]: input.target.value });

  const submit = async (event) => {
    event.preventDefault();
    if (result?.busy) return;
    check(true);
    const faulty = Object.values(faults).some(Boolean);
    setResult(faulty ? null : { busy: true });
    if (faulty) return;
    // The data goes out as typed: parsing and printing it again would round large numbers.
    const body = `{"channel":${JSON.stringify(draft.channel)},"type":${JSON.stringify(draft.type)},"data":${draft.data}}`;
    const bearer = key.current?.value.trim();
    const { answer, back } = await echo.time(() => call("POST", "/api/events", { body, bearer }));
    setResult({ answer });
    if (refused(answer)) {
      openKey(true);
      onRefused();
    }
    if (!answer.ok) return;
    const took = await back;
    setResult((now) => (now?.answer === answer ? { answer, took, settled: true } : now));
  };
  const hurry = (press) => {
    if (press.key === "Enter" && (press.ctrlKey || press.metaKey)) submit(press);
  };

  return html`
    <section class="card" aria-labelledby="publish-title">
      <div class="head"><h2 id="publish-title">${title}</h2></div>
      <form class="fields" onSubmit=${submit} onKeyDown=${hurry} novalidate>
        <div class="pair">
          <${Field} id="publish-channel" label="Channel" fault=${shown.channel}>
            <input id="publish-channel" class="mono" value=${draft.channel} onInput=${edit("channel")} ...${plain(shown.channel, "publish-channel")} />
          <//>
          <${Field} id="publish-type" label="Type" fault=${shown.type}>
            <input id="publish-type" class="mono" value=${draft.type} onInput=${edit("type")} ...${plain(shown.type, "publish-type")} />
          <//>
        </div>
        <${Field} id="publish-data" label="Data (JSON)" fault=${shown.data}>
          <textarea id="publish-data" class="mono" rows="5" value=${draft.data} onInput=${edit("data")} ...${plain(shown.data, "publish-data")}></textarea>
        <//>
        <details open=${keyOpen} onToggle=${(toggle) => openKey(toggle.target.open)}>
          <summary>Use an API key</summary>
          <input type="password" class="mono" ref=${key} aria-label="API key" placeholder="Kept in memory, gone on reload" autocomplete="off" />
        </details>
        <div class="submit">
          <button type="submit" class="primary" disabled=${Boolean(result?.busy)}>Publish</button>
          <kbd class="muted">Ctrl Enter</kbd>
        </div>
        <div class="result" role="status"><${Result} result=${result} /></div>
      </form>
    </section>
  `;
}

function Field({ id, label, fault, children }) {
  return html`
    <div class="field">
      <label for=${id}>${label}</label>
      ${children}
      ${fault && html`<p id=${`${id}-fault`} class="help error">${fault}</p>`}
    </div>
  `;
}

const plain = (fault, id) => ({
  spellcheck: false,
  autocomplete: "off",
  autocapitalize: "none",
  "aria-invalid": String(Boolean(fault)),
  "aria-describedby": fault ? `${id}-fault` : undefined,
});

function faultsOf({ channel, type, data }) {
  return {
    channel: isName(channel) ? "" : "Letters, digits, - and _, with dots between",
    type: /^[^\r\n\0]+$/.test(type) ? "" : "Give the event a type",
    data: jsonFault(data),
  };
}

function jsonFault(text) {
  try {
    JSON.parse(text);
    return "";
  } catch (fault) {
    return text.trim() ? `Not JSON: ${fault.message}` : "Write some JSON; null is the least";
  }
}

const refused = ({ status }) => status === 401 || status === 403;

function Result({ result }) {
  if (!result || result.busy) return null;
  const { answer, took, settled } = result;
  if (answer.ok) {
    let back = "Committed; waiting for it on this page’s stream …";
    if (settled) back = took === null ? "Committed. This page’s stream does not listen to that channel, is stopped, or lags." : `Committed, and back here after ${duration(took)}.`;
    return html`<p class="good">${back}</p><p class="muted mono clip">${answer.data?.ids?.[0] ?? ""}</p>`;
  }
  return html`
    <p class="error"><strong>${answer.error}</strong>${answer.detail ? `: ${answer.detail}` : ""}.</p>
    ${answer.issues.length > 0 && html`<ul class="error">${answer.issues.map((issue) => html`<li>${issue.path && html`<code>${issue.path}</code>: `}${issue.message}</li>`)}</ul>`}
    ${refused(answer) && html`<p>${SIGN_IN}</p>`}
  `;
}
