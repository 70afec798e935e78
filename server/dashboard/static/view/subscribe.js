// The channels of the stream, and where it starts. Another list reopens it at its position, so
// nothing falls between; or it goes back first, and comes from there to the present without a hole.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { parseList } from "../lib/channels.js";
import { count } from "../lib/format.js";
import { MOST } from "../lib/history.js";

// Where to start: what the field beside it is called, its first value, why a value is none.
const STARTS = {
  now: { title: "Now" },
  rewind: {
    title: "Last events",
    label: "How many",
    value: "100",
    fault: (text) => (/^\d{1,5}$/.test(text) && text >= 1 && text <= MOST ? "" : `A number of events, 1 to ${count(MOST)}`),
  },
  since: {
    title: "Since",
    label: "Since when",
    value: "10m",
    fault: (text) =>
      /^\d{1,6}[smhd]$/.test(text) || !Number.isNaN(Date.parse(text)) ? "" : "How long ago, such as 30s, 10m, 2h, 7d, or a time such as 2026-11-22T16:04:05Z",
  },
};

export function Subscribe({ channels, state, onListen, onRewind }) {
  const current = channels.join(", ");
  const [text, setText] = useState(current);
  const [kind, setKind] = useState("now");
  const [amount, setAmount] = useState("");
  const [error, setError] = useState("");
  useEffect(() => setText(current), [current]);
  const start = STARTS[kind];
  const faultOf = (names, value) => parseList(names).error || start.fault?.(value.trim()) || "";

  const submit = (event) => {
    event.preventDefault();
    const fault = faultOf(text, amount);
    setError(fault);
    if (fault) return;
    const list = parseList(text).channels;
    setText(list.join(", "));
    if (kind === "now") onListen(list);
    else onRewind(list, { [kind]: kind === "since" ? moment(amount.trim()) : amount.trim() });
  };
  const choose = (event) => {
    setKind(event.target.value);
    setAmount(STARTS[event.target.value].value ?? "");
    setError("");
  };
  const listFault = Boolean(error) && Boolean(parseList(text).error);
  return html`
    <form class="subscribe" onSubmit=${submit} novalidate>
      <label for="channels">Channels</label>
      <input id="channels" class="mono" value=${text} spellcheck=${false} autocomplete="off" autocapitalize="none"
        aria-describedby="channels-help" aria-invalid=${String(listFault)}
        onInput=${(input) => {
          setText(input.target.value);
          if (error) setError(faultOf(input.target.value, amount));
        }} />
      <div class="start">
        <select aria-label="Start" value=${kind} onChange=${choose}>
          ${Object.entries(STARTS).map(([name, { title }]) => html`<option key=${name} value=${name}>${title}</option>`)}
        </select>
        ${start.label && html`
          <input class="mono" aria-label=${start.label} value=${amount} inputmode=${kind === "rewind" ? "numeric" : "text"} spellcheck=${false}
            autocomplete="off" aria-describedby="channels-help" aria-invalid=${String(Boolean(error) && !listFault)}
            onInput=${(input) => {
              setAmount(input.target.value);
              if (error) setError(faultOf(text, input.target.value));
            }} />
        `}
        <button type="submit">${kind === "now" ? "Subscribe" : "Rewind"}</button>
      </div>
      <p id="channels-help" class=${error || state.error ? "help error" : "help"} role=${error || state.error ? "alert" : undefined}>
        <${Help} error=${error} state=${state} />
      </p>
      <p class="visually-hidden" role="status">${PHASES[state.phase]}</p>
    </form>
  `;
}

const PHASES = { listening: "Listening", rewinding: "Rewinding", stopped: "Stopped: nothing is received" };

function Help({ error, state }) {
  if (error) return error;
  if (state.error) return `The past could not be read. ${state.error}.`;
  if (state.phase === "rewinding") return `Rewinding: ${count(state.loaded)} events so far. Stop ends it.`;
  return html`Comma separated. <code>*</code> stands for one part of a name, a final <code>${">"}</code> for the rest.`;
}

/** A time without a zone is the reader's own; the server takes it for UTC. */
function moment(text) {
  return /^\d{1,6}[smhd]$/.test(text) ? text : new Date(text).toISOString();
}
