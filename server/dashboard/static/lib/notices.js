// The signed-in reader's unread notifications: read once, then kept right by the events of the
// table, on the stream that the browser has anyway.

import { createLiveList } from "./live-list.js";
import { createStream } from "./stream.js";

export const channelOf = (user) => `user.${user.id}.notifications`;

/** As the list has them, from a row of the table. */
export const fromRow = ({ id, title, body, read_at: readAt, created_at: createdAt }) => ({
  id: String(id),
  title,
  body,
  read: readAt !== null,
  createdAt,
});

export function createNotices() {
  const unread = createLiveList({
    path: "/api/notifications?unread=true&limit=100",
    name: "notifications",
    fromRow,
    keeps: ({ read }) => !read,
  });
  let channel = "";
  let stream = null;

  function begin() {
    const { loaded, busy } = unread.view.get();
    if (!loaded && !busy) unread.load();
  }

  return {
    unread: unread.view,
    more: unread.more,
    load: unread.load,

    /** Whose; null: nobody's. */
    follow(user) {
      const wanted = user ? channelOf(user) : "";
      if (wanted === channel) return;
      channel = wanted;
      stream?.close();
      stream = null;
      unread.clear();
      if (!channel) return;
      stream = createStream({ onEvent: unread.note, onGap: unread.load, onReady: begin });
      stream.listen([channel]);
    },
  };
}
