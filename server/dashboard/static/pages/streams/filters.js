// Which streams. What is chosen stands in the address, so that it can be shared and gone back from.

import { html, useEffect, useState } from "../../vendor/htm-preact.js";
import { isName } from "../../lib/channels.js";
import { address } from "../../lib/router.js";

const NAMES = ["channel", "user", "process"];

export const fromParams = (params) => Object.fromEntries(NAMES.map((name) => [name, params.get(name)?.trim() ?? ""]));
export const hrefOf = (filter, more) => `#${address("/streams", { ...filter, ...more })}`;
export const isOpen = (filter) => NAMES.some((name) => filter[name]);

export function Filters({ filter, processes, onFilter }) {
  const [draft, setDraft] = useState(filter);
  useEffect(() => setDraft(filter), [filter.channel, filter.user]);
  const channel = draft.channel.trim();
  const fault = channel && !isName(channel) ? "The whole name of a channel, without * and >: streams are found whose patterns cover it." : "";
  const apply = (more = {}) => {
    const next = { ...filter, channel, user: draft.user.trim(), ...more };
    if (!fault && NAMES.some((name) => next[name] !== filter[name])) onFilter(next);
  };
  const submit = (event) => {
    event.preventDefault();
    apply();
  };
  const edit = (name) => ({
    value: draft[name],
    onInput: (input) => setDraft({ ...draft, [name]: input.target.value }),
    onChange: () => apply(),
    spellcheck: false,
    autocomplete: "off",
    autocapitalize: "none",
  });
  // One that has ended since, too: the filter is to be seen.
  const ids = [...new Set([...processes.map(({ id }) => id), filter.process])].filter(Boolean);
  return html`
    <form class="which" role="search" aria-label="Which streams" onSubmit=${submit} novalidate>
      <label>Reached by an event on
        <input class="mono" placeholder="any channel" ...${edit("channel")} aria-invalid=${String(Boolean(fault))} aria-describedby=${fault ? "which-fault" : undefined} />
      </label>
      <label>User
        <input class="mono" placeholder="anybody’s" ...${edit("user")} />
      </label>
      <label>Process
        <select value=${filter.process} onChange=${(change) => apply({ process: change.target.value })}>
          <option value="">All</option>
          ${ids.map((id) => html`<option key=${id} value=${id}>${id}</option>`)}
        </select>
      </label>
      <button type="submit" class="visually-hidden">Filter</button>
      ${isOpen(filter) && html`<a class="all" href=${hrefOf({})}>Show all</a>`}
      ${fault && html`<p id="which-fault" class="help error" role="alert">${fault}</p>`}
    </form>
  `;
}
