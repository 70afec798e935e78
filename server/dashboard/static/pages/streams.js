// Who is connected, in all processes: which channels, how far behind, and a way to end one.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { useStore } from "../lib/store.js";
import { useStream } from "../lib/use-stream.js";
import { Publish } from "../view/publish.js";
import { Busiest } from "./streams/busiest.js";
import { createCrowd } from "./streams/crowd.js";
import { Filters, fromParams } from "./streams/filters.js";
import { Open } from "./streams/open.js";

const NEWS = ["ops.streams"];

export default function StreamsPage({ app, params }) {
  const [crowd] = useState(createCrowd);
  const filter = fromParams(params);
  useStream(NEWS, {
    // News are not replayed: whatever happened while they were not heard is in the list.
    onReady: crowd.begin,
    onGap: crowd.begin,
    onEvent: ({ data }) => crowd.note(data),
  });
  useEffect(() => crowd.filter(filter), [JSON.stringify(filter)]);
  useEffect(() => crowd.close, []);
  const view = useStore(crowd.view);
  const user = useStore(app.about.user);
  return html`
    <div class="crowd">
      <${Open} crowd=${crowd} view=${view} filter=${filter} user=${user}>
        <${Filters} filter=${filter} processes=${view.processes} onFilter=${app.router.refine} />
      <//>
      <div class="both">
        <${Busiest} view=${view.channels} />
        <${Publish} echo=${app.echo} onRefused=${app.about.refreshReader} title="Publish a test event"
          channel=${filter.channel || undefined} />
      </div>
    </div>
  `;
}
