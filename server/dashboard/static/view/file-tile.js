// One file: a picture that everybody may see as itself, any other by its extension.

import { Component, html } from "../vendor/htm-preact.js";
import { bytes } from "../lib/format.js";
import { addressOf } from "../lib/uploads.js";
import { Bin } from "./icons.js";
import { SureButton } from "./sure-button.js";

export class FileTile extends Component {
  // A file does not change, and the list is redrawn with every step of a bar.
  shouldComponentUpdate(_, state) {
    return state.broken !== this.state.broken;
  }

  render({ file, onDelete }, { broken }) {
    const { id, name, type, size, visibility } = file;
    const url = addressOf(id);
    const isPicture = visibility === "public" && type.startsWith("image/") && !broken;
    return html`
      <li class="file">
        <a href=${url} target="_blank" rel="noopener" title=${name}>
          <span class="thumb">
            ${isPicture
              ? html`<img src=${url} alt="" loading="lazy" decoding="async" onError=${() => this.setState({ broken: true })} />`
              : html`<span class="extension" aria-hidden="true">${name.split(".").at(-1).slice(0, 5)}</span>`}
          </span>
          <bdi class="clip">${name}</bdi>
        </a>
        <span class="muted">${bytes(size)}${visibility === "private" ? " · private" : ""}</span>
        <${SureButton} label=${`Delete ${name}`} onSure=${() => onDelete(file)} again="Delete?"><${Bin} /><//>
      </li>
    `;
  }
}
