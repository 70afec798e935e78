// The keys of servers: made, shown once, revoked.

import { html, useRef, useState } from "../vendor/htm-preact.js";
import { call } from "../lib/api.js";
import { useOwnList } from "../lib/own-list.js";
import { sentence } from "../lib/sentence.js";
import { KeyRow } from "./keys/key-row.js";
import { MadeKey } from "./keys/made-key.js";
import { NewKey } from "./keys/new-key.js";

const PATH = "/api/keys";
const SHOWN = 50;

export default function KeysPage({ app }) {
  const { refreshReader } = app.about;
  const { data, error, load } = useOwnList(PATH, refreshReader);
  const [made, setMade] = useState(null);
  const [shown, show] = useState(SHOWN);
  const [fault, setFault] = useState("");
  const heading = useRef(null);
  const keys = data?.keys ?? [];

  const create = async (body) => {
    const answer = await call("POST", PATH, { body: JSON.stringify(body) });
    if (answer.ok) {
      setMade(answer.data);
      load();
    } else if (answer.status === 401) refreshReader();
    return answer;
  };
  const remove = async ({ id, name }) => {
    const answer = await call("DELETE", `${PATH}/${encodeURIComponent(id)}`);
    const isGone = answer.ok || answer.status === 404;
    setFault(isGone ? "" : `${name} was not deleted. ${sentence(answer)}`);
    if (isGone && made?.id === id) setMade(null);
    await load();
    if (isGone) heading.current?.focus(); // the button went with its row
  };
  return html`
    <div class="beside calm">
      <section class="card" aria-labelledby="keys-title">
        <div class="head"><h2 id="keys-title" ref=${heading} tabindex="-1">Keys</h2>${data && html`<span class="muted">${keys.length}</span>`}</div>
        ${(fault || error) && html`<p class="told error" role="alert">${fault || `The list could not be loaded. ${error}`}.${!fault && html` <button type="button" class="link" onClick=${load}>Try again</button>`}</p>`}
        ${data && keys.length === 0 && html`<p class="told muted">No keys yet. A server needs one to publish, to notify, or to read what is not open to everybody.</p>`}
        ${keys.length > 0 && html`
          <ul class="entries" role="list" aria-label="API keys, newest first">
            ${keys.slice(0, shown).map((key) => html`<${KeyRow} key=${key.id} item=${key} onDelete=${remove} />`)}
          </ul>
        `}
        ${keys.length > shown && html`<p class="told"><button type="button" onClick=${() => show(shown + SHOWN)}>Show more</button> <span class="muted">${keys.length - shown} not shown</span></p>`}
      </section>
      <aside aria-label="A new key">
        ${made && html`<${MadeKey} key=${made.id} made=${made} onDone=${() => setMade(null)} />`}
        <${NewKey} onCreate=${create} />
      </aside>
    </div>
  `;
}
