// The source text's own application, live: posts, and the reader's notifications. Beside it what
// each action sent, and what of it came back as an event.

import { html, useState } from "../vendor/htm-preact.js";
import { createLiveList } from "../lib/live-list.js";
import { channelOf, fromRow } from "../lib/notices.js";
import { useStore } from "../lib/store.js";
import { createTraces } from "../lib/traces.js";
import { useStream } from "../lib/use-stream.js";
import { Notices } from "./example/notices.js";
import { POSTS, postFrom } from "./example/post.js";
import { Posts } from "./example/posts.js";
import { Traces } from "./example/traces.js";

export default function ExamplePage({ app }) {
  const user = useStore(app.about.user);
  return user && html`<${Example} key=${user.id} app=${app} user=${user} />`;
}

function Example({ app, user }) {
  const [posts] = useState(() => createLiveList({ path: `${POSTS}?limit=20`, name: "posts", fromRow: postFrom }));
  const [notices] = useState(() => createLiveList({ path: "/api/notifications?limit=20", name: "notifications", fromRow }));
  const [traces] = useState(createTraces);
  const own = channelOf(user);
  const lists = { posts, [own]: notices };
  const first = (list) => list.view.get().loaded || list.view.get().busy || list.load();

  useStream(Object.keys(lists), {
    onReady: () => Object.values(lists).forEach(first),
    onGap: () => Object.values(lists).forEach((list) => list.load()),
    onEvent(event) {
      lists[event.channel]?.note(event);
      traces.note(event);
    },
  });

  /** An action: the session may have ended meanwhile. */
  const send = async (...request) => {
    const answer = await traces.send(...request);
    if (answer.status === 401) app.about.refreshReader();
    return answer;
  };
  return html`
    <div class="beside calm">
      <${Posts} list=${posts} user=${user} send=${send} />
      <aside aria-label="Notifications, requests and events">
        <${Notices} unread=${app.notices} list=${notices} user=${user} channel=${own} send=${send} />
        <${Traces} traces=${traces} channels=${Object.keys(lists)} />
      </aside>
    </div>
  `;
}
