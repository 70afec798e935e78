// One open stream. What it reads, who it is and whence come from outside: text nodes, all of it.

import { html, useState } from "../../vendor/htm-preact.js";
import { bytes, count, plural } from "../../lib/format.js";
import { address } from "../../lib/router.js";
import { SureButton } from "../../view/sure-button.js";
import { Age } from "./age.js";
import { hrefOf } from "./filters.js";

const SHOWN = 3; // channels in the line

/** Who it is, in words. */
export function nameOf({ kind, user: id, key }, user) {
  const person = id && (id === user?.id ? "you" : id);
  if (kind === "anonymous") return "anonymous";
  if (kind === "token") return `token of ${person ?? `key ${key}`}`;
  return person ?? `key ${key}`;
}

export function StreamRow({ stream, at, user, filter, onEnd }) {
  const { id, process, position, lag, mode } = stream;
  const cell = (name, label, content) => html`<td role="cell" class=${name} data-label=${label}>${content}</td>`;
  return html`
    <tr role="row">
      <th scope="row" role="rowheader" class="client"><${Client} stream=${stream} user=${user} filter=${filter} /></th>
      ${cell("reads", "", html`<${Channels} stream=${stream} />`)}
      ${cell("how", "", html`<${State} state=${stream.state} />${mode === "latest" && html`<small title="While it lags, only the newest event of each channel and key">latest only</small>`}`)}
      ${cell("number", "Age", html`<${Age} seconds=${stream.age} at=${at} title=${`Since ${new Date(stream.openedAt).toLocaleString()}`} />`)}
      ${cell("number", "Lag", html`<span title=${lag === null ? "It stands in another epoch of the log" : "Positions behind its process"}>${lag === null ? "–" : count(lag)}</span><small class="mono" title="Up to here it was given its events">${position}</small>`)}
      ${cell("number", "Sent", html`${bytes(stream.bytes)}${stream.waiting > 0 && html`<small class="waits">${bytes(stream.waiting)} waiting</small>`}`)}
      ${cell("which-one mono", "", html`<a href=${hrefOf(filter, { process })} title="Streams of this process">${process}</a><small title=${id}>${id.slice(process.length + 1)}</small>`)}
      ${cell("end", "", html`<${SureButton} label=${`End the stream of ${nameOf(stream, user)}, ${id}`} again="End it?" onSure=${() => onEnd(stream)}>End<//>`)}
    </tr>
  `;
}

function Client({ stream, user, filter }) {
  const { kind, user: id, key } = stream;
  const name = id ? html`<a href=${hrefOf(filter, { user: id })} title=${id}>${id === user?.id ? "You" : id}</a>` : key ? html`<span title=${key}>${key}</span>` : "Anonymous";
  return html`
    <span class="name"><b>${name}</b>${WORDS[kind] && html`<i class="tag">${WORDS[kind]}</i>`}</span>
    <small class="mono">${stream.address}</small>
  `;
}

const WORDS = { key: "API key", token: "token" };

/** To a click from seeing what they see. */
function Channels({ stream }) {
  const [whole, show] = useState(false);
  const { channels, channelCount } = stream;
  const shown = whole ? channels : channels.slice(0, SHOWN);
  const rest = channelCount - shown.length;
  return html`
    <ul role="list" aria-label="Channels">
      ${shown.map((name) => html`<li key=${name}><a class="chip mono" href=${`#${address("/events", { channels: name })}`} title=${`Watch ${name}`}>${name}</a></li>`)}
      ${rest > 0 && html`<li>${whole ? html`<small>and ${count(rest)} more</small>` : html`<button type="button" aria-label=${plural(rest, "more channel")} onClick=${() => show(true)}>+${count(rest)}</button>`}</li>`}
    </ul>
  `;
}

const STATES = {
  live: ["Live", "It is given events as they are committed"],
  lagging: ["Lagging", "It catches up, or its client takes nothing now"],
  ending: ["Ending", "It was told bye"],
};

function State({ state }) {
  const [word, title] = STATES[state] ?? [state, ""];
  return html`<span class=${`is ${state}`} title=${title}><i class="dot"></i>${word}</span>`;
}
