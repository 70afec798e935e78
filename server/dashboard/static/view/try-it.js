// Three lines to paste elsewhere: the same stream in a terminal, and two ways to feed it.

import { html } from "../vendor/htm-preact.js";
import { streamPath } from "../lib/channels.js";
import { CopyButton } from "./copy.js";

const WATCH = `CREATE TABLE orders (id serial PRIMARY KEY, item text);
SELECT tailrace.watch('orders', channel => 'public.orders');
INSERT INTO orders (item) VALUES ('tea');`;

export function TryIt({ channels }) {
  return html`
    <section class="card" aria-labelledby="try-title">
      <div class="head"><h2 id="try-title">Try it</h2></div>
      <div class="snippets">
        <${Snippet} title="Listen in a terminal" text=${`curl -N '${location.origin}${streamPath(channels)}'`} />
        <${Snippet} title="Publish from any SQL client" text=${`SELECT tailrace.publish('public.hello', 'greeting', '{"n":1}');`} />
        <${Snippet} title="Watch a table of yours" text=${WATCH} />
      </div>
    </section>
  `;
}

function Snippet({ title, text }) {
  return html`
    <div class="snippet">
      <div><h3>${title}</h3><${CopyButton} text=${text} label=${`Copy: ${title}`} /></div>
      <pre class="code" role="group" tabindex="0" aria-label=${title}>${text}</pre>
    </div>
  `;
}
