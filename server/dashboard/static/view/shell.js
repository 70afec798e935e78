// What stands around every page: the bar on top, the navigation, the page's title, who may see it.

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { useStore } from "../lib/store.js";
import { PAGES, SIGN_IN, pageOf } from "../pages/index.js";
import { Announcer } from "./announcer.js";
import { Banner } from "./banner.js";
import { Header } from "./header.js";
import { Warning } from "./icons.js";

export function Shell({ app }) {
  const { path, params } = useStore(app.router.route);
  const page = pageOf(path);
  const user = useStore(app.about.user);
  const title = useRef(null);
  const before = useRef(path);

  useEffect(() => {
    document.title = page ? `${page.title} · Tailrace` : "Tailrace";
    // A new page is told to a screen reader, and the keyboard goes on from its top.
    if (before.current !== path) {
      title.current?.focus({ preventScroll: true });
      scrollTo(0, 0); // a focus alone would leave what is half under the bar
    }
    before.current = path;
  }, [path]);

  return html`
    <a class="skip" href="#content" onClick=${(click) => skip(click, title.current)}>Skip to the page</a>
    <${Header} app=${app} />
    <${Banner} stream=${app.stream} />
    <div class="frame">
      <${Navigation} current=${path} user=${user} />
      <main id="content">
        <h1 ref=${title} tabindex="-1">${page ? page.title : "Nothing here"}</h1>
        ${page ? html`<${Gate} page=${page} app=${app} params=${params} user=${user} />` : html`<p>There is no such page. <a href="#/">Overview</a></p>`}
      </main>
    </div>
    <${Announcer} stream=${app.stream} meter=${app.meter} feed=${app.feed} />
  `;
}

function skip(click, target) {
  click.preventDefault();
  target?.focus();
}

function Navigation({ current, user }) {
  const list = useRef(null);
  // On a narrow screen it scrolls sideways: where one is, is to be seen. Itself alone: the page would
  // be left with its top under the bar.
  useEffect(() => {
    const link = list.current.querySelector("[aria-current]")?.getBoundingClientRect();
    const box = list.current.getBoundingClientRect();
    if (link) list.current.scrollLeft += link.left + link.width / 2 - box.left - box.width / 2;
  }, [current]);
  return html`
    <nav aria-label="Pages">
      <ul role="list" ref=${list}>
        ${PAGES.map(
          (page) => html`
            <li key=${page.path}>
              <a href=${`#${page.path}`} aria-current=${page.path === current ? "page" : undefined}
                class=${mayOpen(page, user) ? "" : "closed"} title=${mayOpen(page, user) ? undefined : NEEDS[page.access]}>
                <${page.icon} />${page.title}
              </a>
            </li>
          `,
        )}
      </ul>
    </nav>
  `;
}

const NEEDS = { user: "For those who are signed in", admin: "For admins" };

const mayOpen = ({ access }, user) =>
  access === "all" || (access === "user" ? Boolean(user) : user?.role === "admin");

/** The page, or how one comes to be allowed to see it. Made anew for another reader: what is typed
 * and shown in it is the former one's. */
function Gate({ page, app, params, user }) {
  if (page.access !== "all" && user === undefined) return null; // not known yet
  if (mayOpen(page, user)) return html`<${Loaded} key=${`${page.path} ${user?.id ?? ""}`} page=${page} app=${app} params=${params} />`;
  const why = user
    ? "Your account is not an admin’s. Sign in with one that is."
    : `${NEEDS[page.access]}. Sign in, or open the link that the server printed.`;
  return html`
    <p class="gate">${why}</p>
    <${Loaded} page=${SIGN_IN} app=${app} params=${params} />
  `;
}

function Loaded({ page, app, params }) {
  const [state, set] = useState({});
  useEffect(() => {
    let here = true;
    const settle = (next) => here && set(next);
    page.load().then(
      (module) => settle({ View: module.default }),
      () => settle({ failed: true }),
    );
    return () => {
      here = false;
    };
  }, [page]);
  if (state.View) return html`<${state.View} app=${app} params=${params} />`;
  if (!state.failed) return null;
  return html`
    <p class="card failed" role="alert">
      <${Warning} /><span>This page could not be loaded.</span>
      <button type="button" onClick=${() => location.reload()}>Reload</button>
    </p>
  `;
}
