// The page: makes each part once, connects them, and draws.

import { html, render } from "./vendor/htm-preact.js";
import { createAbout } from "./lib/about.js";
import { parseList } from "./lib/channels.js";
import { createEcho } from "./lib/echo.js";
import { createFeed } from "./lib/feed.js";
import { createIntake } from "./lib/intake.js";
import { createMeter } from "./lib/meter.js";
import { createNotices } from "./lib/notices.js";
import { createRouter } from "./lib/router.js";
import { createStore } from "./lib/store.js";
import { createStream, refusals } from "./lib/stream.js";
import { Shell } from "./view/shell.js";

function createApp() {
  const about = createAbout();
  const router = createRouter();
  const feed = createFeed();
  const meter = createMeter();
  const echo = createEcho();
  const stream = createStream({
    onEvent: createIntake({ feed, meter, echo }),
    onGap: (gap) => feed.gap({ ...gap, received: Date.now() }),
    onReady: about.refreshServer,
  });
  const parts = new Map();
  return {
    about,
    router,
    feed,
    meter,
    echo,
    stream,
    channels: createStore(fromAddress(router.route.get().params)),
    notices: createNotices(),

    part(name, make) {
      if (!parts.has(name)) parts.set(name, make());
      return parts.get(name);
    },
  };
}

function fromAddress(params) {
  const given = params.get("channels");
  const list = given ? parseList(given) : null;
  return list && !list.error ? list.channels : ["public.>"];
}

async function start() {
  const app = createApp();
  const { about, channels, feed, notices, router, stream } = app;
  render(html`<${Shell} app=${app} />`, document.getElementById("app"));
  await about.refreshReader();
  stream.listen(channels.get());
  channels.watch(() => stream.listen(channels.get()));
  // A link to other channels, or a step back to those of before.
  router.route.watch(() => {
    const { path, params } = router.route.get();
    if (path !== "/events" || !params.has("channels")) return;
    const next = fromAddress(params);
    if (next.join() !== channels.get().join()) channels.set(next);
  });
  refusals.watch(about.refreshReader);
  let reader = "";
  const follow = () => {
    const user = about.user.get();
    notices.follow(user);
    const before = reader;
    reader = user ? `${user.id} ${user.role}` : "";
    // What somebody was allowed to read is not for those who come after.
    if (before && before !== reader) feed.clear();
  };
  about.user.watch(follow);
  follow();
  // Somebody may have signed in, or out, in another tab.
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") about.refreshReader();
  });
}

start();
