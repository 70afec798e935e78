// Does what cannot be undone at the second press.

import { html, useState } from "../vendor/htm-preact.js";

/** `label`: what it does, for those who do not see where it stands; `children`: what is drawn. */
export function SureButton({ label, onSure, children, again = "Press again", ...more }) {
  const [sure, ask] = useState(false);
  const [busy, work] = useState(false);
  const press = async () => {
    if (!sure) return ask(true);
    work(true);
    await onSure();
    work(false);
    ask(false);
  };
  const name = sure ? `Press again: ${label}` : label;
  return html`
    <button type="button" ...${more} class=${sure ? "quiet sure" : "quiet"} aria-label=${name} title=${name} disabled=${busy}
      onClick=${press} onBlur=${() => ask(false)} onMouseLeave=${() => ask(false)}>
      ${sure ? again : children}
    </button>
  `;
}
