// Where the reader is signed in, who they are, and their password.

import { html, useRef, useState } from "../vendor/htm-preact.js";
import { call } from "../lib/api.js";
import { useOwnList } from "../lib/own-list.js";
import { sentence } from "../lib/sentence.js";
import { useStore } from "../lib/store.js";
import { SureButton } from "../view/sure-button.js";
import { Password } from "./sessions/password.js";
import { Profile } from "./sessions/profile.js";
import { SessionRow } from "./sessions/session-row.js";

export default function SessionsPage({ app }) {
  const user = useStore(app.about.user);
  return user && html`<${Sessions} key=${user.id} about=${app.about} user=${user} />`;
}

function Sessions({ about, user }) {
  const { refreshReader } = about;
  const { data, error, load } = useOwnList("/api/auth/list-sessions", refreshReader);
  const present = useOwnList("/api/auth/get-session", refreshReader);
  const [fault, setFault] = useState("");
  const [said, say] = useState("");
  const heading = useRef(null);
  const own = present.data?.session.id;
  const sessions = [...(data ?? [])].sort((a, b) => Number(b.id === own) - Number(a.id === own));

  const act = async (path, body, done) => {
    const answer = await call("POST", path, { body: JSON.stringify(body) });
    setFault(answer.ok ? "" : sentence(answer));
    say(answer.ok ? done : "");
    await (answer.status === 401 ? refreshReader() : load());
    heading.current?.focus(); // the button went with its row
  };
  const revoke = ({ token }) => act("/api/auth/revoke-session", { token }, "The session has ended");
  const revokeOthers = () => act("/api/auth/revoke-other-sessions", {}, "All other sessions have ended");
  const reload = () => Promise.all([present.load(), load()]);
  return html`
    <div class="beside calm">
      <section class="card" aria-labelledby="sessions-title">
        <div class="head">
          <h2 id="sessions-title" ref=${heading} tabindex="-1">Where you are signed in</h2>
          ${sessions.length > 1 && html`<${SureButton} label="Sign out everywhere else" onSure=${revokeOthers} again="Press again to sign out the others">Sign out everywhere else<//>`}
        </div>
        ${(fault || error) && html`<p class="told error" role="alert">${fault || error}.</p>`}
        <p class="visually-hidden" role="status">${said}</p>
        <ul class="entries" role="list" aria-label="Sessions, this one first">
          ${sessions.map((session) => html`<${SessionRow} key=${session.id} session=${session} isOwn=${session.id === own} onRevoke=${revoke} />`)}
        </ul>
        <p class="foot">A session that is ended loses its open streams at once: its tabs ask to sign in again.</p>
      </section>
      <aside aria-label="Your account">
        <${Profile} user=${user} />
        <${Password} user=${user} onChanged=${reload} onRefused=${refreshReader} />
      </aside>
    </div>
  `;
}
