// Deletes a file at the second press: there is no way back.

import { html, useState } from "../vendor/htm-preact.js";
import { Bin } from "./icons.js";

export function DeleteButton({ file, onDelete }) {
  const [sure, ask] = useState(false);
  const [busy, work] = useState(false);
  const press = async () => {
    if (!sure) return ask(true);
    work(true);
    await onDelete(file);
    work(false);
    ask(false);
  };
  const label = sure ? `Press again to delete ${file.name}` : `Delete ${file.name}`;
  return html`
    <button type="button" class=${sure ? "delete sure" : "delete"} aria-label=${label} title=${label}
      disabled=${busy} onClick=${press} onBlur=${() => ask(false)} onMouseLeave=${() => ask(false)}>
      ${sure ? "Delete?" : html`<${Bin} />`}
    </button>
  `;
}
