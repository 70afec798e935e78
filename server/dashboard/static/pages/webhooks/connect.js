// How deliveries come to be here: the address of the door, the setting of its secret, a test.

import { html } from "../../vendor/htm-preact.js";
import { CopyButton } from "../../view/copy.js";
import { hrefOf } from "./filter.js";

export const urlOf = ({ path }) => `${location.origin}${path}`;

export function commandOf({ name, builtin }) {
  const secret = builtin ? "" : " --secret '…'";
  return `.venv/bin/tailrace webhooks send ${name}${secret} --url ${location.origin}`;
}

export function Copied({ text, label }) {
  return html`<div class="copied"><code>${text}</code><${CopyButton} text=${text} label=${`Copy ${label}`} /></div>`;
}

/** Any bytes will do for a test; a provider gives its own. */
const settingOf = ({ setting }) => `${setting}="whsec_$(openssl rand -base64 24)"`;

/** Instead of an empty list. */
export function Connect({ known }) {
  const builtin = known.filter((source) => source.builtin);
  const test = builtin.find(({ open }) => open) ?? known.find(({ open }) => open);
  const sources = html`<a href=${hrefOf({}, { view: "sources" })}>make a source</a>`;
  return html`
    <div class="connect">
      <p><strong>Waiting for the first delivery</strong></p>
      <p class="muted">It appears here the moment that it is verified and committed. Give a provider the address of its door, and the server the provider’s secret:</p>
      <ul class="doors" role="list" aria-label="Doors">
        ${builtin.map(
          (source) => html`
            <li key=${source.name}>
              <strong>${source.name}</strong> <${Door} source=${source} />
              <${Copied} text=${urlOf(source)} label=${`the address for ${source.name}`} />
              <p class="help">${source.open ? html`<code>${source.setting}</code> is set.` : html`Set <code>${source.setting}</code> and restart the server.`}</p>
            </li>
          `,
        )}
      </ul>
      ${test &&
        html`<p class="muted">Anything else that signs its webhooks: ${sources}. To try it, run this where the server runs, with its settings:</p>
            <${Copied} text=${commandOf(test)} label="the command" />`}
      ${known.length > 0 && !test &&
        html`<p class="muted">No door is open yet. To try it without a provider, ${sources}: its door is open at once, and its card has a command that sends a test. Or set a secret of your own and restart the server:</p>
            <${Copied} text=${settingOf(builtin[0])} label="the setting" />`}
    </div>
  `;
}

export const Door = ({ source: { open, paused } }) => html`
  <span class=${`state ${open ? "good" : "calm"}`} title=${open ? "Its door takes deliveries" : "Its door has no secret that can be used"}>${open ? "Open" : "Closed"}</span>
  ${paused && html` <span class="state warn" title="What comes is stored, and waits">Paused</span>`}
`;
