// The bell: how many notifications are unread, and the newest of them.

import { html, useState } from "../vendor/htm-preact.js";
import { ago, plural } from "../lib/format.js";
import { useStore } from "../lib/store.js";
import { Bell } from "./icons.js";

const SHOWN = 20;

export function Notifications({ user, notices }) {
  const unread = useStore(notices.unread);
  // The ages are those of the moment it was opened.
  const [, reopen] = useState(0);
  if (!user) return null;
  return html`
    <button class="icon-button bell" type="button" popovertarget="notices" aria-label=${`Notifications: ${unread.length} unread`}>
      <${Bell} />
      ${unread.length > 0 && html`<span class="badge" aria-hidden="true">${unread.length > 99 ? "99+" : unread.length}</span>`}
    </button>
    <div id="notices" class="popover" popover="auto" onToggle=${() => reopen((n) => n + 1)} role="region" aria-label="Notifications">
      <h2>Notifications <span class="muted">${plural(unread.length, "unread", "unread")}</span></h2>
      ${unread.length === 0
        ? html`<p class="empty">Nothing unread. A row in <code>notifications</code> shows up here as soon as it is committed.</p>`
        : html`<ul role="list">${unread.slice(0, SHOWN).map((notice) => html`<${Notice} key=${notice.id} notice=${notice} />`)}</ul>`}
      ${unread.length > SHOWN && html`<p class="empty">… ${unread.length - SHOWN} more</p>`}
    </div>
  `;
}

function Notice({ notice }) {
  const when = notice.created_at ?? notice.createdAt;
  return html`
    <li>
      <strong>${notice.title ?? "Notification"}</strong>
      ${when && html`<time datetime=${when}>${ago(when)}</time>`}
      ${notice.body && html`<p>${notice.body}</p>`}
    </li>
  `;
}
