// Who may deliver: the built-in sources, those of one's own, and how they are made.

import { html, useRef, useState } from "../../vendor/htm-preact.js";
import { useStore } from "../../lib/store.js";
import { Warning } from "../../view/icons.js";
import { NewSource } from "./new-source.js";
import { Secret } from "./secret.js";
import { SourceCard } from "./source-card.js";

export function Sources({ sources, counts, known, say }) {
  const { error, loaded } = useStore(sources.view);
  const summary = useStore(counts.view);
  const [made, setMade] = useState(null);
  const title = useRef(null);
  const changed = () => sources.load();
  // A card that goes takes the focus with it.
  const removed = (name) => {
    say(`${name} is deleted`);
    title.current.focus();
    changed();
  };
  const created = (source) => {
    setMade(source);
    say(`${source.name} is made`);
    changed();
  };
  return html`
    <div class="beside">
      <section class="sources" aria-labelledby="sources-title">
        <h2 id="sources-title" class="visually-hidden" tabindex="-1" ref=${title}>Sources</h2>
        ${error && html`<p class="card notice bad" role="alert"><${Warning} /><span>The sources could not be loaded. ${error}.</span><button type="button" class="link" onClick=${changed}>Try again</button></p>`}
        ${made && html`<${Secret} key=${made.name} source=${made.name} secret=${made.secret} onDone=${() => {
          setMade(null);
          title.current.focus();
        }} />`}
        <ul class="cards" role="list" aria-labelledby="sources-title">
          ${known.map((source) => html`<${SourceCard} key=${source.name} source=${source} loaded=${summary.loaded}
            counts=${summary.sources.find((each) => each.source === source.name)} say=${say} onChanged=${changed} onRemoved=${removed} />`)}
        </ul>
        ${!loaded && !error && html`<p class="help">Loading …</p>`}
      </section>
      <aside aria-label="Another source"><${NewSource} onMade=${created} /></aside>
    </div>
  `;
}
