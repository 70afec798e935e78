// A secret that was made just now: told once.

import { html, useEffect, useRef } from "../../vendor/htm-preact.js";
import { Copied } from "./connect.js";

export function Secret({ source, secret, onDone }) {
  const title = useRef(null);
  useEffect(() => title.current.focus(), [secret]);
  return html`
    <section class="secret" aria-labelledby=${`secret-${source}`}>
      <h3 id=${`secret-${source}`} tabindex="-1" ref=${title}>${secret ? `The secret of ${source}` : `${source} signs with the secret that you gave`}</h3>
      ${secret && html`<p>Copy it to the sender now: it is never shown again.</p><${Copied} text=${secret} label=${`the secret of ${source}`} />`}
      <button type="button" onClick=${onDone}>${secret ? "I have it" : "Close"}</button>
    </section>
  `;
}
