// The API's page: shows /openapi.json, all of it, as text that is never parsed as HTML.

import { html, render, useEffect, useState } from "/static/vendor/htm-preact.js";
import { Copyable, curl } from "./curl.js";
import { Type, Shape, resolve } from "./schema.js";
import { Words } from "./words.js";

const METHODS = ["get", "post", "put", "patch", "delete", "options"];
const START = document.getElementById("app");

function operations(api) {
  const found = [];
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const method of METHODS) {
      if (methods[method]) found.push({ path, method, head: method === "get" && "head" in methods, ...methods[method] });
    }
  }
  return found;
}

function Page({ api }) {
  const all = operations(api);
  const groups = api.tags.map(({ name }) => [name, all.filter((item) => item.tags.includes(name))]);
  return html`
    <header class="bar">
      <a class="brand" href="/"><h1>Tailrace API</h1></a>
      <span class="version">${api.info.version}</span>
      <a class="raw" href="/openapi.json">openapi.json</a>
    </header>
    <div class="book">
      <${Contents} groups=${groups} events=${api["x-events"]} />
      <main>
        <section class="intro"><${Words} text=${api.info.description} /><${Schemes} api=${api} /></section>
        ${groups.map(
          ([name, items]) => html`
            <section class="group" aria-labelledby=${`tag-${name}`}>
              <h2 id=${`tag-${name}`}>${name}</h2>
              ${items.map((item) => html`<${Operation} key=${item.operationId} api=${api} item=${item} />`)}
            </section>`,
        )}
        <${Events} api=${api} events=${api["x-events"]} />
      </main>
    </div>`;
}

function Contents({ groups, events }) {
  return html`
    <nav aria-label="Operations">
      ${groups.map(
        ([name, items]) => html`
          <h3>${name}</h3>
          <ul>${items.map(
            (item) => html`<li><a href=${`#${item.operationId}`}><${Method} name=${item.method} /> ${item.path}</a></li>`,
          )}</ul>`,
      )}
      ${events.length > 0 && html`<h3>types of events</h3><ul>${[...new Set(events.map((item) => item.channel))].map((name) => html`<li><a href="#events">${name}</a></li>`)}</ul>`}
    </nav>`;
}

const Method = ({ name }) => html`<span class=${`method ${name}`}>${name.toUpperCase()}</span>`;

function Schemes({ api }) {
  return html`
    <h3>Credentials</h3>
    <dl class="rows">${Object.entries(api.components.securitySchemes).map(
      ([name, scheme]) => html`<div><dt><code>${name}</code></dt><dd><${Words} text=${scheme.description} /></dd></div>`,
    )}</dl>`;
}

function Operation({ api, item }) {
  const answers = Object.entries(item.responses).map(([status, answer]) => [status, resolve(api, answer)]);
  const good = answers.filter(([status]) => status < "400");
  const bad = answers.filter(([status]) => status >= "400");
  return html`
    <article class="card operation" id=${item.operationId}>
      <h3>
        <${Method} name=${item.method} /><code class="path">${item.path}</code>
        <a class="anchor" href=${`#${item.operationId}`} aria-label="Link to this">#</a>
      </h3>
      <p class="summary">${item.summary}${item.head && html`<span class="muted"> · also HEAD</span>`}</p>
      <${Words} text=${item.description} />
      <${Needs} security=${item.security} />
      <${Copyable} text=${curl(api, item)} />
      <${Parameters} api=${api} list=${item.parameters ?? []} />
      ${item.requestBody && html`<h4>Body</h4><${Content} api=${api} content=${item.requestBody.content} />`}
      <h4>Answers</h4>
      ${good.map(([status, answer]) => html`<${Answer} api=${api} status=${status} answer=${answer} />`)}
      <h4>Errors</h4>
      <dl class="rows errors">${bad.map(
        ([status, answer]) => html`<div><dt><code class="bad">${status}</code></dt><dd><${Words} text=${answer.description} /></dd></div>`,
      )}</dl>
    </article>`;
}

function Needs({ security = [] }) {
  const names = security.flatMap((item) => Object.keys(item));
  if (names.length === 0) return null;
  const free = security.some((item) => Object.keys(item).length === 0);
  return html`<p class="needs">${free ? "Takes" : "Needs"} ${names.map((name) => html`<code>${name}</code> `)}</p>`;
}

function Parameters({ api, list }) {
  if (list.length === 0) return null;
  return html`
    <h4>Parameters</h4>
    <dl class="rows">${list.map(
      (item) => html`
        <div>
          <dt><code>${item.name}</code>${item.required && html`<span class="must" title="required">*</span>`}
            <span class="muted">${item.in}</span></dt>
          <dd><${Type} api=${api} schema=${item.schema} />${item.description && html`<${Words} text=${item.description} />`}</dd>
        </div>`,
    )}</dl>`;
}

function Answer({ api, status, answer }) {
  const names = Object.keys(answer.headers ?? {});
  return html`
    <div class="answer">
      <p><code class="good">${status}</code> <${Words} text=${answer.description} inline /></p>
      ${names.length > 0 && html`<p class="headers muted">Headers ${names.map(
        (name) => html`<code title=${resolve(api, answer.headers[name]).description}>${name}</code> `,
      )}</p>`}
      <${Content} api=${api} content=${answer.content} />
    </div>`;
}

function Content({ api, content = {} }) {
  return Object.entries(content).map(
    ([media, { schema }]) => html`<p class="media muted">${media}</p><${Shape} api=${api} schema=${schema} />`,
  );
}

const SOURCES = { published: "kept in the log", ephemeral: "not kept", watched: "announced by watch()" };

function Events({ api, events }) {
  if (events.length === 0) return null;
  return html`
    <section class="group" id="events" aria-labelledby="tag-events-types">
      <h2 id="tag-events-types">Types of events</h2>
      ${events.map(
        (item) => html`
          <article class="card event-type" data-event=${`${item.channel} ${item.name}`}>
            <h3><code class="path">${item.name}</code> <span class="muted">on</span> <code>${item.channel}</code>
              <span class="tag">${SOURCES[item.source]}</span></h3>
            <p class="summary">${item.summary}</p>
            <${Shape} api=${api} schema=${item.schema} />
          </article>`,
      )}
    </section>`;
}

function App() {
  const [api, set] = useState(null);
  const [fault, fail] = useState("");
  useEffect(() => {
    fetch("/openapi.json")
      .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(`HTTP ${answer.status}`))))
      .then(set, (error) => fail(`The document could not be fetched: ${error.message}`));
  }, []);
  // The browser looked for the fragment before there was anything to find.
  useEffect(() => {
    if (api && location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
  }, [api]);
  if (fault) return html`<p class="noscript error" role="alert">${fault}</p>`;
  return api && html`<${Page} api=${api} />`;
}

START.replaceChildren();
render(html`<${App} />`, START);
