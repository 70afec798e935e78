// Who the reader is, as the server has it now. It offers no change of these.

import { html } from "../../vendor/htm-preact.js";
import { useOwnList } from "../../lib/own-list.js";

export function Profile({ user }) {
  const { data, error } = useOwnList("/api/user/profile", () => {});
  const { name, email, role, creditsTotal, createdAt } = data?.user ?? user;
  return html`
    <section class="card" aria-labelledby="profile-title">
      <div class="head"><h2 id="profile-title">Profile</h2></div>
      ${error && html`<p class="told error" role="alert">${error}.</p>`}
      <dl class="profile">
        <div><dt>Name</dt><dd>${name}</dd></div>
        <div><dt>Email</dt><dd>${email}</dd></div>
        <div><dt>Role</dt><dd>${role}</dd></div>
        ${creditsTotal !== undefined && html`<div><dt>Credits</dt><dd>${creditsTotal.toLocaleString("en")}</dd></div>`}
        <div><dt>Since</dt><dd><time datetime=${createdAt}>${new Date(createdAt).toISOString().slice(0, 10)}</time></dd></div>
      </dl>
    </section>
  `;
}
