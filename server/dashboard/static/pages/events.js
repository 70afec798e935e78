// Any channels, as they come or as they came: a list to filter, hold and open, and a form to publish.

import { html } from "../vendor/htm-preact.js";
import { createListening } from "../lib/listening.js";
import { useStore } from "../lib/store.js";
import { Events } from "../view/events.js";
import { Publish } from "../view/publish.js";
import { TryIt } from "../view/try-it.js";

export default function EventsPage({ app }) {
  const { stream, feed, router } = app;
  const channels = useStore(app.channels);
  const listening = app.part("listening", () => createListening({ stream, feed, channels: app.channels }));
  const inAddress = (list) => router.refine({ channels: list.join(",") });
  const onListen = (list) => {
    listening.listen(list);
    inAddress(list);
  };
  const onRewind = (list, start) => {
    listening.rewind(list, start);
    inAddress(list);
  };
  return html`
    <div class="beside">
      <${Events} feed=${feed} channels=${channels} listening=${listening} onListen=${onListen} onRewind=${onRewind} />
      <aside aria-label="Publish and try it">
        <${Publish} echo=${app.echo} onRefused=${app.about.refreshReader} />
        <${TryIt} channels=${channels} />
      </aside>
    </div>
  `;
}
