// One delivery as a line. Everything that came from outside is a text node.

import { Component, html } from "../../vendor/htm-preact.js";
import { State, stateOf, Time } from "./states.js";

export class Row extends Component {
  constructor(props) {
    super(props);
    this.fresh = props.fresh ? "fresh" : "";
  }

  // Rows are redrawn far more often than they change.
  shouldComponentUpdate(next) {
    const { row, open, stop } = this.props;
    return next.row !== row || next.open !== open || next.stop !== stop;
  }

  render({ row, open, stop, onOpen }) {
    const { id, source, type, key, attempts, dueAt, receivedAt, state } = row;
    const waits = state === "pending" && attempts > 0;
    return html`
      <li class=${`delivery ${this.fresh} ${open ? "open" : ""}`}>
        <button type="button" tabindex=${stop ? 0 : -1} aria-current=${open ? "true" : undefined} data-id=${id} onClick=${() => onOpen(id)}>
          <span class="what"><${State} state=${stateOf(row)} /></span>
          <span class="type">${type}</span>
          <span class="source"><span class="visually-hidden">from </span>${source}</span>
          <span class="key mono">${key && html`<span class="visually-hidden">key </span>`}${key ?? "–"}</span>
          <span class="tries">${attempts}<span class="unit"> ${attempts === 1 ? "attempt" : "attempts"}</span></span>
          <span class="due">${waits ? html`<span class="visually-hidden">next due </span><${Time} at=${dueAt} />` : "–"}</span>
          <span class="when"><span class="visually-hidden">received </span><${Time} at=${receivedAt} /></span>
        </button>
      </li>
    `;
  }
}
