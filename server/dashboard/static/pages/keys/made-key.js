// The new key: shown now and never again.

import { html, useEffect, useRef } from "../../vendor/htm-preact.js";
import { CopyButton } from "../../view/copy.js";

export function MadeKey({ made: { name, key, scopes, channels }, onDone }) {
  const title = useRef(null);
  useEffect(() => title.current.focus(), []);
  const use = useOf(key, scopes, channels);
  return html`
    <section class="card made" aria-labelledby="made-title">
      <div class="head"><h2 id="made-title" ref=${title} tabindex="-1">Copy the key of ${name}</h2></div>
      <div class="fields">
        <p class="help">It is shown this once: only its hash is kept.</p>
        <div class="key-secret"><code>${key}</code><${CopyButton} text=${key} label="Copy the key" /></div>
        ${use && html`<div class="snippet"><div><h3>Try it</h3><${CopyButton} text=${use} label="Copy the command" /></div><pre class="code" role="group" tabindex="0" aria-label="A command with this key">${use}</pre></div>`}
        <div class="submit"><button type="button" onClick=${onDone}>I have it</button></div>
      </div>
    </section>
  `;
}

function useOf(key, scopes, channels) {
  const bearer = `-H 'Authorization: Bearer ${key}'`;
  const channel = (channels[0] ?? "public.>").replace(/(^|\.)>$/, "$1hello").replaceAll("*", "any");
  if (scopes.includes("publish")) {
    const body = JSON.stringify({ channel, type: "greeting", data: { n: 1 } });
    return `curl ${bearer} -H 'Content-Type: application/json' -d '${body}' '${location.origin}/api/events'`;
  }
  if (scopes.includes("read")) return `curl -N ${bearer} '${location.origin}/api/stream?channel=${encodeURIComponent(channels[0] ?? "public.>")}'`;
  return "";
}
