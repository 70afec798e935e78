// The open streams: how many, which, whether that is all of them.

import { html, useRef, useState } from "../../vendor/htm-preact.js";
import { clock, count, plural } from "../../lib/format.js";
import { Warning } from "../../view/icons.js";
import { isOpen } from "./filters.js";
import { StreamRow, nameOf } from "./row.js";

export function Open({ crowd, view, filter, user, children }) {
  const [said, say] = useState("");
  const [fault, setFault] = useState("");
  const section = useRef(null);

  const end = async (stream) => {
    const buttons = [...section.current.querySelectorAll("td.end button")];
    const at = buttons.indexOf(document.activeElement);
    const why = await crowd.end(stream.id);
    setFault(why && `The stream of ${nameOf(stream, user)} was not ended. ${why}.`);
    if (why) return;
    say(`The stream of ${nameOf(stream, user)} on ${stream.channels.join(", ")} was ended`);
    // The button that had the focus is gone: on to the next one's.
    if (at < 0) return;
    const rest = [...section.current.querySelectorAll("td.end button")].filter((button) => button !== buttons[at]);
    (rest[Math.min(at, rest.length - 1)] ?? section.current.querySelector("h2")).focus();
  };
  return html`
    <section class="card roster" aria-labelledby="open-title" ref=${section}>
      <div class="head">
        <h2 id="open-title" tabindex="-1">Open streams</h2>
        <${Summary} view=${view} filter=${filter} />
        <button type="button" onClick=${crowd.load}>Refresh</button>
      </div>
      ${children}
      <${Incomplete} view=${view} />
      ${fault && html`<p class="said help error" role="alert">${fault}</p>`}
      ${view.error && html`<p class="said help error" role="alert">The list could not be loaded. ${view.error}.</p>`}
      ${view.streams.length > 0 && html`<${Table} view=${view} user=${user} filter=${filter} onEnd=${end} />`}
      ${view.loaded && !view.streams.length && html`
        <div class="nothing">
          <p><strong>${isOpen(filter) ? "No open stream matches" : "No stream is open"}</strong></p>
          <p>${filter.channel ? html`An event on <code>${filter.channel}</code> would reach nobody now.` : ""}</p>
        </div>
      `}
      ${view.total > view.streams.length && html`<${Rest} view=${view} onMore=${crowd.more} />`}
      <p class="visually-hidden" role="status">${said}</p>
    </section>
  `;
}

function Summary({ view, filter }) {
  if (!view.loaded) return null;
  const all = view.processes.reduce((sum, { streams }) => sum + (streams ?? 0), 0);
  const few = isOpen(filter) ? `${count(view.total)} of ${plural(all, "stream")}` : plural(view.total, "stream");
  const where = view.processes.length > 1 ? ` in ${count(view.processes.length)} processes` : "";
  return html`<p class="muted summary" title="The figures are of this time; the server says when they have changed">${few}${where} <span>· as of ${clock(view.at).slice(0, 8)}</span></p>`;
}

/** Nobody is to take a part for the whole. */
function Incomplete({ view }) {
  if (view.complete) return null;
  const silent = view.processes.filter(({ answered }) => !answered);
  const why = silent.length
    ? `${silent.length === 1 ? "A process" : `${count(silent.length)} processes`} did not answer: their streams are missing here`
    : "It could not be found out just now which other processes live: there may be more";
  return html`
    <div class="banner" role="status">
      <${Warning} />
      <p><strong>This is not all.</strong> ${why}${silent.length > 0 ? html` (<code>${silent.map(({ id }) => id).join(", ")}</code>)` : ""}.</p>
    </div>
  `;
}

/** With roles, as the narrow layout takes their meaning from the elements of a table. */
function Table({ view, user, filter, onEnd }) {
  const head = (title, kind) => html`<th scope="col" role="columnheader" class=${kind}>${title}</th>`;
  return html`
    <div class="scroll">
      <table role="table" aria-label="Open streams, the oldest first">
        <thead role="rowgroup">
          <tr role="row">
            ${head("Client")}${head("Channels")}${head("State")}${head("Age", "number")}${head("Lag", "number")}${head("Sent", "number")}${head("Stream")}
            <th scope="col" role="columnheader"><span class="visually-hidden">End it</span></th>
          </tr>
        </thead>
        <tbody role="rowgroup">
          ${view.streams.map((stream) => html`<${StreamRow} key=${stream.id} stream=${stream} at=${view.at} user=${user} filter=${filter} onEnd=${onEnd} />`)}
        </tbody>
      </table>
    </div>
  `;
}

function Rest({ view, onMore }) {
  const shown = view.streams.length;
  return html`
    <p class="foot">
      The oldest ${count(shown)} of ${count(view.total)} are shown.
      ${shown < 1000 ? html` <button type="button" class="link" onClick=${onMore}>Show more</button>` : " Filter by channel, user or process to see others."}
    </p>
  `;
}
