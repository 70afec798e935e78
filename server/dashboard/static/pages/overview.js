// What the server does right now: what its processes tell, and what this page receives.

import { html, useMemo } from "../vendor/htm-preact.js";
import { METRICS } from "../lib/channels.js";
import { createFigures } from "../lib/figures.js";
import { useStore } from "../lib/store.js";
import { useStream } from "../lib/use-stream.js";
import { TryIt } from "../view/try-it.js";
import { Received } from "./overview/received.js";
import { useSecond } from "./overview/second.js";
import { ServerFigures } from "./overview/server.js";

export default function OverviewPage({ app, params }) {
  const { about, meter, router } = app;
  const { version, metrics } = useStore(about.page);
  const user = useStore(about.user);
  const channels = useStore(app.channels);
  const figures = app.part("figures", createFigures);
  const now = useSecond();
  const read = useMemo(() => meter.read(now), [now]);
  useStream(metrics ? [METRICS] : [], { onEvent: ({ data }) => figures.note(data, Date.now()) });
  return html`
    ${metrics && html`
      <${ServerFigures} figures=${figures} now=${now} chosen=${params.get("process") ?? ""}
        onChoose=${(process) => router.refine({ process })} />
    `}
    ${!metrics && version && html`<${Closed} user=${user} />`}
    <${Received} read=${read} since=${meter.started} channels=${channels} />
    <${TryIt} channels=${channels} />
  `;
}

const Closed = ({ user }) => html`
  <p class="card not-told">
    The server’s own figures (clients, deliveries, latency, webhooks, memory) are for admins.
    ${user
      ? " Your account is not an admin’s."
      : html` <a href="#/sign-in">Sign in</a>, or open the link that the server printed.`}
    ${" What this page itself receives is below."}
  </p>
`;
