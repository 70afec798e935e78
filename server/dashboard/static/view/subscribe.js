// The channels of the stream. Another list reopens it at its position, so nothing falls between.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { parseList } from "../lib/channels.js";

export function Subscribe({ channels, onListen }) {
  const current = channels.join(", ");
  const [text, setText] = useState(current);
  const [error, setError] = useState("");
  useEffect(() => setText(current), [current]);

  const submit = (event) => {
    event.preventDefault();
    const list = parseList(text);
    setError(list.error);
    if (list.error) return;
    setText(list.channels.join(", "));
    onListen(list.channels);
  };
  return html`
    <form class="subscribe" onSubmit=${submit} novalidate>
      <label for="channels">Channels</label>
      <input id="channels" class="mono" value=${text} spellcheck=${false} autocomplete="off" autocapitalize="none"
        aria-describedby="channels-help" aria-invalid=${String(Boolean(error))}
        onInput=${(input) => {
          setText(input.target.value);
          if (error) setError(parseList(input.target.value).error);
        }} />
      <button type="submit">Subscribe</button>
      <p id="channels-help" class=${error ? "help error" : "help"} role=${error ? "alert" : undefined}>
        ${error || html`Comma separated. <code>*</code> stands for one part of a name, a final <code>${">"}</code> for the rest.`}
      </p>
    </form>
  `;
}
