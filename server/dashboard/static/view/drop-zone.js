// Where files are dropped or chosen. A file let fall beside it must not replace the page.

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { bytes } from "../lib/format.js";
import { Upload } from "./icons.js";

export function DropZone({ policies, sender }) {
  const [over, setOver] = useState(false);
  const input = useRef(null);
  useEffect(() => {
    const ends = new AbortController();
    for (const type of ["dragover", "drop"]) addEventListener(type, hold, { signal: ends.signal });
    return () => ends.abort();
  }, []);

  const enter = (drag) => {
    if (!hasFiles(drag)) return;
    drag.preventDefault();
    drag.stopPropagation();
    drag.dataTransfer.dropEffect = "copy";
    setOver(true);
  };
  // Also sent when a child is entered.
  const leave = (drag) => !drag.currentTarget.contains(drag.relatedTarget) && setOver(false);
  const drop = (drag) => {
    setOver(false);
    if (!hasFiles(drag)) return;
    drag.preventDefault();
    const { files, folders } = read(drag.dataTransfer);
    for (const name of folders) sender.refuse(name, "It is a folder: choose the files in it");
    sender.add(files);
  };
  const choose = () => {
    sender.add([...input.current.files]);
    input.current.value = ""; // so that the same file can be chosen again
  };
  return html`
    <div class=${over ? "drop over" : "drop"} onDragEnter=${enter} onDragOver=${enter} onDragLeave=${leave} onDrop=${drop}>
      <${Upload} />
      <p>Drop files here, or <button type="button" class="link" aria-describedby="uploads-help" onClick=${() => input.current.click()}>choose files</button></p>
      <p class="help" id="uploads-help">${policies.map(({ name, most }) => `${name} up to ${bytes(most)}`).join(", ")}</p>
      <input type="file" multiple hidden ref=${input} onChange=${choose} />
    </div>
  `;
}

const hasFiles = (drag) => drag.dataTransfer.types.includes("Files");

function hold(drag) {
  if (drag.defaultPrevented || !hasFiles(drag)) return;
  drag.preventDefault();
  drag.dataTransfer.dropEffect = "none";
}

/** A folder comes as a file that cannot be read. */
function read({ items }) {
  const files = [];
  const folders = [];
  for (const item of [...items].filter(({ kind }) => kind === "file")) {
    const file = item.getAsFile();
    if (item.webkitGetAsEntry?.()?.isDirectory) folders.push(file.name);
    else files.push(file);
  }
  return { files, folders };
}
