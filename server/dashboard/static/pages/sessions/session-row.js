// One session: from where, since when.

import { html } from "../../vendor/htm-preact.js";
import { deviceOf } from "../../lib/device.js";
import { ago } from "../../lib/format.js";
import { SureButton } from "../../view/sure-button.js";

export function SessionRow({ session, isOwn, onRevoke }) {
  const { userAgent, ipAddress, createdAt, expiresAt } = session;
  const device = deviceOf(userAgent) || "Unknown device";
  return html`
    <li class="entry">
      <div class="line1">
        <strong class="clip" title=${userAgent ?? ""}>${device}</strong>
        ${isOwn && html`<span class="tag here">this session</span>`}
        ${!isOwn && html`<span class="tools"><${SureButton} label=${`Sign out ${device}${ipAddress ? ` at ${ipAddress}` : ""}`} onSure=${() => onRevoke(session)}>Sign out<//></span>`}
      </div>
      <dl class="facts1">
        <div><dt>Address</dt><dd class="mono">${ipAddress ?? "–"}</dd></div>
        <div><dt>Since</dt><dd><${Time} at=${createdAt} /></dd></div>
        <div><dt>Ends</dt><dd><time datetime=${expiresAt} title=${new Date(expiresAt).toLocaleString()}>${new Date(expiresAt).toISOString().slice(0, 10)}</time></dd></div>
      </dl>
    </li>
  `;
}

function Time({ at }) {
  const when = ago(at);
  return html`<time datetime=${at} title=${new Date(at).toLocaleString()}>${when === "now" ? "just now" : `${when} ago`}</time>`;
}
