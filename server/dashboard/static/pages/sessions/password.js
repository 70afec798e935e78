// A new password, and with it the end of the other sessions if one likes.

import { html, useRef, useState } from "../../vendor/htm-preact.js";
import { call } from "../../lib/api.js";
import { NO_FAULTS, faultsOf } from "../../lib/faults.js";
import { Field, Refusal, useFaultFocus } from "../../view/form.js";

export function Password({ user, onChanged, onRefused }) {
  const [faults, setFaults] = useState(NO_FAULTS);
  const [busy, work] = useState(false);
  const [said, say] = useState("");
  const form = useRef(null);
  useFaultFocus(form, faults);

  const submit = async (event) => {
    event.preventDefault();
    if (busy) return;
    const { currentPassword, newPassword, others } = form.current.elements;
    const body = { currentPassword: currentPassword.value, newPassword: newPassword.value, revokeOtherSessions: others.checked };
    work(true);
    say("");
    const answer = await call("POST", "/api/auth/change-password", { body: JSON.stringify(body) });
    work(false);
    setFaults(answer.ok ? NO_FAULTS : faultsOf(answer, { currentPassword: "", newPassword: "" }));
    if (answer.status === 401) onRefused();
    if (!answer.ok) return;
    form.current.reset();
    say(body.revokeOtherSessions ? "Your password is changed, and all other sessions have ended." : "Your password is changed.");
    onChanged();
  };
  return html`
    <section class="card" aria-labelledby="password-title">
      <div class="head"><h2 id="password-title">Password</h2></div>
      <form class="fields" onSubmit=${submit} novalidate ref=${form}>
        <input type="text" class="visually-hidden" tabindex="-1" aria-hidden="true" autocomplete="username" readonly value=${user.email} />
        <${Field} id="current-password" label="Current password" fault=${faults.beside.currentPassword}>
          ${(more) => html`<input ...${more} name="currentPassword" type="password" autocomplete="current-password" />`}
        <//>
        <${Field} id="new-password" label="New password" help="8 characters or more" fault=${faults.beside.newPassword}>
          ${(more) => html`<input ...${more} name="newPassword" type="password" autocomplete="new-password" />`}
        <//>
        <label class="check"><input type="checkbox" name="others" /><span>Sign out everywhere else</span></label>
        <${Refusal} faults=${faults} />
        <div class="submit"><button type="submit" class="primary" disabled=${busy}>Change password</button></div>
        <p class="help good" role="status">${said}</p>
      </form>
    </section>
  `;
}
