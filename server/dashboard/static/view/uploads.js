// The reader's files: a place to drop more, a bar for each that is under way in any tab, a gallery.

import { html, useRef, useState } from "../vendor/htm-preact.js";
import { bytes, count } from "../lib/format.js";
import { useStore } from "../lib/store.js";
import { DropZone } from "./drop-zone.js";
import { FileTile } from "./file-tile.js";
import { Bin } from "./icons.js";
import { SureButton } from "./sure-button.js";

export function Uploads({ about, uploads, sender }) {
  const { running, files, next, error, loaded } = useStore(uploads.view);
  const { uploads: policies } = useStore(about.page);
  const sending = useStore(sender.state);
  const [fault, setFault] = useState("");
  const section = useRef(null);
  if (!useStore(about.user)) return null;

  const remove = async (file) => {
    const focused = section.current.contains(document.activeElement);
    const why = await uploads.remove(file.id);
    setFault(why && `${file.name} was not deleted. ${why}`);
    // The button that had the focus is gone.
    if (!why && focused) section.current.querySelector(".drop button").focus();
  };
  return html`
    <section class="card uploads" aria-labelledby="uploads-title" ref=${section}>
      <div class="head"><h2 id="uploads-title">Uploads</h2></div>
      <div class="parts">
        <${DropZone} policies=${policies} sender=${sender} />
        <${Sending} state=${sending} onCancel=${sender.cancel} />
        ${running.length > 0 && html`
          <ul class="running" role="list" aria-label="Under way">
            ${running.map((each) => html`<${Run} key=${each.id} run=${each} onDelete=${remove} />`)}
          </ul>
        `}
        <${Refused} refused=${sending.refused} onDismiss=${sender.dismiss} />
        ${fault && html`<p class="help error" role="alert">${fault}</p>`}
        ${files.length > 0 && html`
          <ul class="gallery" role="list" aria-label="Files, newest first">
            ${files.map((file) => html`<${FileTile} key=${file.id} file=${file} onDelete=${remove} />`)}
          </ul>
        `}
        ${loaded && !files.length && !running.length && html`<p class="help">Nothing here yet.</p>`}
        ${error && html`<p class="help error">The list could not be loaded. ${error}. <button type="button" class="link" onClick=${() => uploads.load(next)}>Try again</button></p>`}
        ${next && !error && html`<button type="button" onClick=${() => uploads.load(next)}>Show more</button>`}
      </div>
      <p class="visually-hidden" aria-live="polite">${sending.said}</p>
    </section>
  `;
}

/** What this tab still has to send. */
function Sending({ state, onCancel }) {
  if (!state.sending) return null;
  return html`
    <p class="sending">
      <span class="muted">Sending from this tab${state.waiting > 0 ? `, ${count(state.waiting)} more to come` : ""}</span>
      <button type="button" class="link" onClick=${onCancel}>Cancel</button>
    </p>
  `;
}

const STAGES = { checking: "Checking", ready: "Done", failed: "Failed", paused: "Paused" };

function Run({ run, onDelete }) {
  const { name, stage, received, size } = run;
  // `size` is the request's, a little more than the file's.
  const part = size ? Math.min(1, received / size) : undefined;
  const sent = size ? `${Math.floor(part * 100)} % of ${bytes(size)}` : bytes(received ?? 0);
  const value = { receiving: part, checking: 1, ready: 1 }[stage];
  return html`
    <li class=${`run ${stage}`}>
      <div>
        <bdi class="clip" title=${name}>${name}</bdi>
        <span class=${stage === "failed" ? "error" : "muted"}>${STAGES[stage] ?? sent}</span>
        ${stage === "paused" && html`<${SureButton} label=${`Delete ${name}`} onSure=${() => onDelete(run)} again="Delete?"><${Bin} /><//>`}
      </div>
      ${stage !== "failed" && html`<progress aria-label=${name} max="1" value=${value}></progress>`}
    </li>
  `;
}

function Refused({ refused, onDismiss }) {
  if (!refused.length) return null;
  return html`
    <div class="refused">
      <ul role="list" aria-label="Not uploaded">
        ${refused.map(({ number, name, why }) => html`<li key=${number}><strong><bdi>${name}</bdi></strong> ${why}.</li>`)}
      </ul>
      <button type="button" class="link" onClick=${onDismiss}>Dismiss</button>
    </div>
  `;
}
