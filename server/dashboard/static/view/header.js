// The bar on top: what this is, whether it is live, where the stream stands, who is signed in.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { call } from "../lib/api.js";
import { sentence } from "../lib/sentence.js";
import { useStore } from "../lib/store.js";
import { Mark } from "./icons.js";
import { Notifications } from "./notifications.js";

const LABELS = { connecting: "Connecting", live: "Live", reconnecting: "Reconnecting", ended: "Ended", stopped: "Stopped" };

export function Header({ app }) {
  const { stream, about, notices } = app;
  const page = useStore(about.page);
  const user = useStore(about.user);
  return html`
    <header class="bar">
      <a class="brand" href="#/"><${Mark} /><span>Tailrace</span>${page.version && html`<span class="version">${page.version}</span>`}</a>
      <${Connection} status=${useStore(stream.status)} />
      <${Facts} stream=${stream} about=${about} />
      <div class="reader"><${Notifications} user=${user} notices=${notices} /><${Reader} user=${user} about=${about} /></div>
    </header>
  `;
}

function Connection({ status }) {
  return html`<span class=${`pill ${status.state}`}><i class="dot"></i>${LABELS[status.state]}</span>`;
}

function Facts({ stream, about }) {
  const server = useStore(about.server);
  const position = useTick(stream.position, 250);
  return html`
    <dl class="facts">
      <div><dt>Position</dt><dd class="mono" title="The id of the last event this page has seen; after a cut it resumes behind it">${position || "–"}</dd></div>
      ${server.mode && html`<div><dt>Mode</dt><dd title=${modeTitle(server.mode)}>${server.mode}</dd></div>`}
    </dl>
  `;
}

function modeTitle(mode) {
  if (mode === "notify") return "Postgres wakes the server at each commit (LISTEN/NOTIFY)";
  if (mode === "polling") return "The server asks Postgres at short intervals: LISTEN is not available";
  return "";
}

function Reader({ user, about }) {
  const [busy, work] = useState(false);
  const [fault, setFault] = useState("");
  if (user === undefined) return null;
  if (user === null) return html`<a class="enter" href="#/sign-in">Sign in</a>`;
  const leave = async () => {
    work(true);
    const answer = await call("POST", "/api/auth/sign-out", { body: "{}" });
    setFault(answer.ok ? "" : sentence(answer));
    await about.changeReader();
    work(false);
  };
  const name = user.name || user.email || user.id;
  return html`
    <a class="person" href="#/sessions" title=${[user.email, user.role].filter(Boolean).join(" · ")}>
      <i class="initial" aria-hidden="true">${name.slice(0, 1).toUpperCase()}</i>
      <span class="visually-hidden">Signed in as ${" "}</span><span class="name">${name}</span>
      ${user.role === "admin" && html`<span class="tag">admin</span>`}
    </a>
    ${fault && html`<span class="help error" role="alert">${fault}.</span>`}
    <button type="button" class="link" disabled=${busy} onClick=${leave}>Sign out</button>
  `;
}

/** A value that changes too often to announce itself, looked at every so often. */
export function useTick(look, every) {
  const [value, set] = useState(look);
  useEffect(() => {
    const timer = setInterval(() => set(look()), every);
    return () => clearInterval(timer);
  }, [look, every]);
  return value;
}
