// The channels and patterns with the most subscribers.

import { html } from "../../vendor/htm-preact.js";
import { count, plural } from "../../lib/format.js";
import { isName } from "../../lib/channels.js";
import { address } from "../../lib/router.js";
import { hrefOf } from "./filters.js";

export function Busiest({ view }) {
  const { channels, total, complete, loaded } = view;
  const most = Math.max(1, ...channels.map(({ subscribers }) => subscribers));
  return html`
    <section class="card busiest" aria-labelledby="busiest-title">
      <div class="head"><h2 id="busiest-title">Most subscribers</h2>${loaded && html`<p class="muted summary">${complete ? "" : "at least "}${plural(total, "channel or pattern", "channels and patterns")}</p>`}</div>
      ${loaded && !channels.length && html`<p class="said help">Nobody subscribes to anything.</p>`}
      <ol role="list" aria-label="Channels and patterns with the most subscribers">
        ${channels.map(({ name, subscribers }) => html`
          <li key=${name}>
            <a class="mono clip" href=${`#${address("/events", { channels: name })}`} title=${`Watch ${name}`}>${name}</a>
            ${isName(name) && html`<a class="who" href=${hrefOf({ channel: name })} aria-label=${`Streams that an event on ${name} reaches`}>streams</a>`}
            <meter min="0" max=${most} value=${subscribers} aria-hidden="true"></meter>
            <span>${count(subscribers)}<span class="visually-hidden"> subscriber${subscribers === 1 ? "" : "s"}</span></span>
          </li>
        `)}
      </ol>
    </section>
  `;
}
