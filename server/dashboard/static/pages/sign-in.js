// Who one is: by address and password, or as a new account.

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { call } from "../lib/api.js";
import { NO_FAULTS, faultsOf } from "../lib/faults.js";
import { useStore } from "../lib/store.js";
import { Field, Refusal, useFaultFocus } from "../view/form.js";

const EMAIL = "This is not an email address";
// What a password manager needs to know is in `autocomplete`.
const NAME = { name: "name", label: "Name", type: "text", autocomplete: "name" };
const ADDRESS = { name: "email", label: "Email", type: "email", autocomplete: "username" };
const SECRET = { name: "password", label: "Password", type: "password" };
const WAYS = {
  in: {
    title: "Sign in",
    path: "/api/auth/sign-in/email",
    fields: [ADDRESS, { ...SECRET, autocomplete: "current-password" }],
    other: ["No account yet?", "Make one", "up"],
  },
  up: {
    title: "Make an account",
    path: "/api/auth/sign-up/email",
    fields: [NAME, ADDRESS, { ...SECRET, autocomplete: "new-password", help: "8 characters or more" }],
    other: ["Have an account?", "Sign in", "in"],
  },
};

export default function SignIn({ app }) {
  const user = useStore(app.about.user);
  const [way, choose] = useState("in");
  const { title, path, fields, other } = WAYS[way];
  const [faults, setFaults] = useState(NO_FAULTS);
  const [busy, work] = useState(false);
  const form = useRef(null);
  useFaultFocus(form, faults);
  const isFirst = useRef(true);
  // Behind the page's title, where a screen reader begins, unless one has chosen the other form.
  useEffect(() => {
    const isAddressed = app.router.route.get().path === "/sign-in";
    if (!isFirst.current || (isAddressed && !user)) form.current.elements[0].focus({ preventScroll: true });
    isFirst.current = false;
  }, [way]);

  const submit = async (event) => {
    event.preventDefault();
    if (busy) return;
    const { elements } = form.current;
    const body = Object.fromEntries(fields.map(({ name }) => [name, elements[name].value]));
    work(true);
    const answer = await call("POST", path, { body: JSON.stringify(body) });
    work(false);
    if (!answer.ok) {
      setFaults(faultsOf(answer, { name: "", email: EMAIL, password: "" }));
      if (answer.status === 401) elements.password.select();
      return;
    }
    setFaults(NO_FAULTS);
    if (app.router.route.get().path === "/sign-in") app.router.go("/");
    await app.about.changeReader();
  };
  const change = () => {
    setFaults(NO_FAULTS);
    choose(other[2]);
  };
  return html`
    <section class="card narrow" aria-labelledby="sign-in-title">
      <div class="head"><h2 id="sign-in-title">${user && way === "in" ? "Sign in as somebody else" : title}</h2></div>
      <form class="fields" onSubmit=${submit} novalidate ref=${form}>
        ${fields.map(({ name, label, help, ...more }) => html`
          <${Field} key=${`${way}-${name}`} id=${name} label=${label} help=${help} fault=${faults.beside[name]}>
            ${(tied) => html`<input ...${tied} ...${more} name=${name} required />`}
          <//>
        `)}
        <${Refusal} faults=${faults} />
        <div class="submit"><button type="submit" class="primary full" disabled=${busy}>${title}</button></div>
        <p class="muted other">${other[0]} <button type="button" class="link" onClick=${change}>${other[1]}</button></p>
      </form>
    </section>
  `;
}
