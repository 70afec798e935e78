// The bell: how many notifications are unread, and the newest of them.

import { html, useRef, useState } from "../vendor/htm-preact.js";
import { call } from "../lib/api.js";
import { ago } from "../lib/format.js";
import { sentence } from "../lib/sentence.js";
import { useStore } from "../lib/store.js";
import { Bell } from "./icons.js";

const SHOWN = 20;

export function Notifications({ user, notices }) {
  const { rows, next, error, loaded } = useStore(notices.unread);
  const [fault, setFault] = useState("");
  const panel = useRef(null);
  // The ages are those of the moment it was opened.
  const [, reopen] = useState(0);
  if (!user) return null;
  const total = `${rows.length}${next ? "+" : ""}`;
  const readAll = async () => {
    const answer = await call("POST", "/api/notifications/read-all", { body: "{}" });
    setFault(answer.ok ? "" : sentence(answer));
    panel.current?.focus(); // the button goes with what was unread
  };
  return html`
    <button class="icon-button bell" type="button" popovertarget="notices" aria-label=${`Notifications: ${total} unread`}>
      <${Bell} />
      ${rows.length > 0 && html`<span class="badge" aria-hidden="true">${rows.length > 99 ? "99+" : rows.length}</span>`}
    </button>
    <div id="notices" class="popover" popover="auto" tabindex="-1" ref=${panel} onToggle=${() => reopen((n) => n + 1)} role="region" aria-label="Unread notifications">
      <h2>Notifications <span class="muted">${total} unread</span></h2>
      ${(error || fault) && html`<p class="empty error" role="alert">${error || fault}.</p>`}
      ${rows.length > 0 && html`<ul role="list">${rows.slice(0, SHOWN).map((notice) => html`<${Notice} key=${notice.id} notice=${notice} />`)}</ul>`}
      ${loaded && rows.length === 0 && html`<p class="empty">Nothing unread. A row in <code>notifications</code> shows up here as soon as it is committed.</p>`}
      <p class="more">
        ${rows.length > 0 && html`<button type="button" class="link" onClick=${readAll}>Mark all as read</button>`}
        <a href="#/example" onClick=${() => panel.current.hidePopover()}>${rows.length > SHOWN ? `All, and ${rows.length - SHOWN} more unread` : "All notifications"}</a>
      </p>
    </div>
  `;
}

function Notice({ notice: { title, body, createdAt } }) {
  return html`
    <li>
      <strong>${title}</strong>
      <time datetime=${createdAt}>${ago(createdAt)}</time>
      ${body && html`<p>${body}</p>`}
    </li>
  `;
}
