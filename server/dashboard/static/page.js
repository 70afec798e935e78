// The page: makes each part once, connects them, and draws.

import { html, render } from "./vendor/htm-preact.js";
import { createAbout } from "./lib/about.js";
import { METRICS, matches, parseList } from "./lib/channels.js";
import { createClients } from "./lib/clients.js";
import { createEcho } from "./lib/echo.js";
import { createFeed } from "./lib/feed.js";
import { createIntake } from "./lib/intake.js";
import { createMeter } from "./lib/meter.js";
import { createNotices } from "./lib/notices.js";
import { createSender } from "./lib/sending.js";
import { createStore, useStore } from "./lib/store.js";
import { createStream } from "./lib/stream.js";
import { createUploads } from "./lib/uploads.js";
import { Announcer } from "./view/announcer.js";
import { Banner } from "./view/banner.js";
import { Events } from "./view/events.js";
import { Header } from "./view/header.js";
import { Overview } from "./view/overview.js";
import { Publish } from "./view/publish.js";
import { TryIt } from "./view/try-it.js";
import { Uploads } from "./view/uploads.js";

const about = createAbout();
const channels = createStore(fromAddress());
const feed = createFeed();
const meter = createMeter();
const clients = createClients();
const echo = createEcho();
const notices = createNotices({ onRefused: about.refreshReader });
const sender = createSender({ about });
const uploads = createUploads({ isOwn: sender.isOwn });
let own = []; // channels that the page listens to for itself, beside the reader's
const stream = createStream({
  onEvent: createIntake({ feed, meter, clients, uploads, echo, own: () => own }),
  onGap: (gap) => {
    feed.gap({ ...gap, received: Date.now() });
    uploads.again();
  },
  onReady: () => {
    about.refreshServer();
    uploads.begin();
  },
});

/** The reader's channels, and the server's numbers and the uploads when this reader may have them. */
function listen() {
  const list = channels.get();
  uploads.follow(about.user.get());
  const useful = [about.page.get().metrics && METRICS, uploads.channel()].filter(Boolean);
  own = useful.filter((channel) => !list.some((pattern) => matches(pattern, channel)));
  stream.listen([...list, ...own]);
}

function App() {
  const list = useStore(channels);
  const onListen = (next) => {
    channels.set(next);
    toAddress(next);
    listen();
  };
  return html`
    <${Header} stream=${stream} about=${about} notices=${notices} />
    <${Banner} stream=${stream} />
    <main>
      <${Overview} meter=${meter} clients=${clients} about=${about} />
      <${Events} feed=${feed} channels=${list} onListen=${onListen} />
      <aside aria-label="Publish, upload and try it">
        <${Publish} echo=${echo} onRefused=${about.refreshReader} />
        <${Uploads} about=${about} uploads=${uploads} sender=${sender} />
        <${TryIt} channels=${list} />
      </aside>
    </main>
    <${Announcer} stream=${stream} meter=${meter} feed=${feed} />
  `;
}

// The channels stand in the address, behind #, so that a view can be reloaded and shared.
function fromAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get("channels");
  const list = given ? parseList(given) : null;
  return list && !list.error ? list.channels : ["public.>"];
}

function toAddress(list) {
  history.replaceState(null, "", `#${new URLSearchParams({ channels: list.join(",") })}`);
}

async function start() {
  render(html`<${App} />`, document.getElementById("app"));
  await about.refreshReader();
  listen();
  about.page.watch(listen);
  about.user.watch(listen);
  // Refused: the session may have ended, and with it the right to the metrics.
  stream.status.watch(() => stream.status.get().state === "ended" && about.refreshReader());
  const follow = () => notices.listen(Boolean(about.user.get()));
  about.user.watch(follow);
  follow();
  // Somebody may have signed in, or out, in another tab.
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") about.refreshReader();
  });
}

start();
