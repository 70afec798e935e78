// The reader's notifications: what is unread first, then the rest.

import { html, useRef, useState } from "../../vendor/htm-preact.js";
import { NO_FAULTS, faultsOf } from "../../lib/faults.js";
import { ago } from "../../lib/format.js";
import { sentence } from "../../lib/sentence.js";
import { useStore } from "../../lib/store.js";
import { CopyButton } from "../../view/copy.js";
import { Field, Refusal, useFaultFocus } from "../../view/form.js";
import { Bin, Done } from "../../view/icons.js";
import { SureButton } from "../../view/sure-button.js";

const PATH = "/api/notifications";

export function Notices({ unread, list, user, channel, send }) {
  const fresh = useStore(unread.unread);
  const all = useStore(list.view);
  const [fault, setFault] = useState("");
  const heading = useRef(null);
  const read = all.rows.filter((each) => each.read);
  const error = all.error || fresh.error;
  const again = () => {
    list.load();
    unread.load();
  };

  const act = async (method, path, effects) => {
    const answer = await send(method, path, method === "POST" ? {} : undefined, effects);
    setFault(answer.ok ? "" : sentence(answer));
    // The button that was pressed goes with its row.
    heading.current?.focus();
  };
  const one = (type, id) => [(event) => event.channel === channel && event.type === type && event.key === id, 1];
  const acts = {
    read: ({ id }) => act("POST", `${PATH}/${id}/read`, () => one("update", id)),
    remove: ({ id }) => act("DELETE", `${PATH}/${id}`, () => one("delete", id)),
  };
  const readAll = () =>
    act("POST", `${PATH}/read-all`, ({ updated }) => [(event) => event.channel === channel && event.type === "update", updated]);
  return html`
    <section class="card notices" aria-labelledby="notices-title">
      <div class="head">
        <h2 id="notices-title" ref=${heading} tabindex="-1">Notifications</h2>
        ${fresh.rows.length > 0 && html`<button type="button" class="link" onClick=${readAll}>Mark all as read</button>`}
      </div>
      ${fault && html`<p class="told error" role="alert">${fault}.</p>`}
      ${error && html`<p class="told error" role="alert">The list could not be loaded. ${error}. <button type="button" class="link" onClick=${again}>Try again</button></p>`}
      ${!(all.loaded && fresh.loaded) && !error && html`<p class="told muted">Loading …</p>`}
      <div class="scroll" role="group" aria-label="Notifications, unread first" tabindex="0">
        <h3>Unread <span class="count">${fresh.rows.length}${fresh.next ? "+" : ""}</span></h3>
        <${Rows} label="Unread" rows=${fresh.rows} acts=${acts} none=${fresh.loaded && "Nothing unread."} />
        ${fresh.next && html`<p class="told"><button type="button" class="link" disabled=${fresh.busy} onClick=${unread.more}>Show more unread</button></p>`}
        ${read.length > 0 && html`<h3>Read</h3><${Rows} label="Read" rows=${read} acts=${acts} />`}
        ${all.next && html`<p class="told"><button type="button" class="link" disabled=${all.busy} onClick=${list.more}>Show more</button></p>`}
      </div>
      ${user.role === "admin" ? html`<${NotifyMe} user=${user} send=${send} one=${one} />` : html`<${BySql} user=${user} />`}
    </section>
  `;
}

function Rows({ label, rows, acts, none }) {
  if (!rows.length) return none && html`<p class="told muted">${none}</p>`;
  return html`
    <ul class="entries" role="list" aria-label=${label}>
      ${rows.map((notice) => {
        const { id, title, body, createdAt, read } = notice;
        return html`
          <li key=${id} class=${read ? "entry read" : "entry"}>
            <div class="line1">
              <strong class="clip" title=${title}>${title}</strong>
              <time class="muted" datetime=${createdAt} title=${createdAt}>${ago(createdAt)}</time>
              <span class="tools">
                ${!read && html`<button type="button" class="quiet" aria-label=${`Mark as read: ${title}`} title="Mark as read" onClick=${() => acts.read(notice)}><${Done} /></button>`}
                <${SureButton} label=${`Delete ${title}`} onSure=${() => acts.remove(notice)} again="Delete?"><${Bin} /><//>
              </span>
            </div>
            ${body && html`<p class="content">${body}</p>`}
          </li>
        `;
      })}
    </ul>
  `;
}

/** Admins may notify: here themselves. */
function NotifyMe({ user, send, one }) {
  const [title, setTitle] = useState("");
  const [faults, setFaults] = useState(NO_FAULTS);
  const form = useRef(null);
  useFaultFocus(form, faults);
  const submit = async (event) => {
    event.preventDefault();
    const answer = await send("POST", PATH, { userId: user.id, title }, ({ id }) => one("insert", id));
    setFaults(answer.ok ? NO_FAULTS : faultsOf(answer, { title: "One line, please" }));
    if (answer.ok) setTitle("");
  };
  return html`
    <form class="fields notify" onSubmit=${submit} novalidate ref=${form}>
      <${Field} id="notify-title" label="Notify yourself" fault=${faults.beside.title}>
        ${(more) => html`<input ...${more} value=${title} autocomplete="off" placeholder="A title" onInput=${(input) => setTitle(input.target.value)} />`}
      <//>
      <button type="submit">Notify</button>
      <${Refusal} faults=${faults} />
    </form>
  `;
}

function BySql({ user }) {
  const text = `INSERT INTO notifications (user_id, title)\nVALUES ('${user.id}', 'Hello');`;
  return html`
    <div class="fields">
      <div class="snippet"><div><h3>Or by SQL, from anywhere</h3><${CopyButton} text=${text} label="Copy the SQL statement" /></div><pre class="code" role="group" tabindex="0" aria-label="An SQL statement that notifies you">${text}</pre></div>
    </div>
  `;
}
