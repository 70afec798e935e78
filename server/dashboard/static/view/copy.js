// Copying text, also where the clipboard API is absent (plain http on another host than localhost).

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { Copy, Done } from "./icons.js";

export function CopyButton({ text, label }) {
  const [said, say] = useState("");
  useEffect(() => {
    const timer = said && setTimeout(say, 1600, "");
    return () => clearTimeout(timer);
  }, [said]);
  const press = async () => say((await copy(text)) ? "Copied" : "Select and copy by hand");
  return html`
    <button type="button" class="copy" aria-label=${label} title=${label} onClick=${press}>
      ${said === "Copied" ? html`<${Done} />` : html`<${Copy} />`}
      <span role="status" class=${said && said !== "Copied" ? "" : "visually-hidden"}>${said}</span>
    </button>
  `;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

function copyBySelection(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  document.body.append(area);
  const focused = document.activeElement;
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  focused?.focus();
  return done;
}
