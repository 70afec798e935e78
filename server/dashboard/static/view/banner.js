// What the reader has to know about the connection, and can do about it, when it is not live.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { useStore } from "../lib/store.js";
import { Warning } from "./icons.js";

const PATIENCE = 1200;
export const SIGN_IN = "Open the link that the server printed (it signs you in), or paste an API key.";

export function Banner({ stream }) {
  const status = useStore(stream.status);
  const { state, note, until } = status;
  if (state === "ended") {
    return html`
      <div class="banner danger" role="alert">
        <${Warning} />
        <p><strong>The stream was refused: ${status.detail || status.error}.</strong> ${advice(status)}</p>
        <button type="button" onClick=${stream.retry}>Try again</button>
      </div>
    `;
  }
  return state === "reconnecting" ? html`<${Reconnecting} note=${note} until=${until} onRetry=${stream.retry} />` : null;
}

/** Said only when it takes longer: a renewal of half a second is nobody's concern. */
function Reconnecting({ note, until, onRetry }) {
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(setLate, PATIENCE, true);
    return () => clearTimeout(timer);
  }, []);
  if (!late) return null;
  return html`
    <div class="banner" role="status">
      <${Warning} />
      <p><strong>Reconnecting${note ? `: ${note}` : ""}.</strong> The stream will resume where it stopped. <${Countdown} until=${until} /></p>
      ${until && html`<button type="button" onClick=${onRetry}>Try now</button>`}
    </div>
  `;
}

function advice({ status, issues }) {
  const said = issues.map((issue) => issue.message).filter(Boolean);
  if (said.length) return `${said.join("; ")}.`;
  if (status === 401) return "Open the link that the server printed (it signs you in), or change the channels.";
  if (status === 403) return "You may not read one of these channels: change them.";
  return "Change the channels, or try again.";
}

function Countdown({ until }) {
  const [now, tick] = useState(Date.now);
  useEffect(() => {
    const timer = until && setInterval(() => tick(Date.now()), 500);
    return () => clearInterval(timer);
  }, [until]);
  const seconds = until ? Math.ceil((until - now) / 1000) : 0;
  return seconds > 0 ? html`<span aria-hidden="true">Next try in ${seconds} s.</span>` : null;
}
