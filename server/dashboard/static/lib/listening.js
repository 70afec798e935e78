// What the debugger's stream does at the reader's word: listen, stop, go back and come again.

import { MOST, readHistory } from "./history.js";
import { count, plural } from "./format.js";
import { sentence } from "./sentence.js";
import { createStore } from "./store.js";

export function createListening({ stream, channels, feed }) {
  const view = createStore({ phase: "listening", loaded: 0, error: "", frames: false });
  let loading = null;

  function become(phase, more = {}) {
    loading?.abort();
    loading = null;
    view.set({ ...view.get(), phase, loaded: 0, error: "", ...more });
  }

  // Others are wanted, by the form or by a link. The page has opened the stream where it stood; after
  // a stop that may be long ago, and all of it would come at once.
  channels.watch(() => {
    const anew = view.get().phase !== "listening";
    become("listening");
    if (!anew) return;
    feed.note("Listening", "from the present; what came since the stop is left out");
    stream.listen(channels.get(), { after: "" });
  });
  stream.status.watch(() => view.get().frames && tell(stream.status.get(), stream.position(), feed));

  async function rewind(wanted, start) {
    channels.set([...wanted]);
    become("rewinding");
    const own = (loading = new AbortController());
    stream.close("connecting");
    feed.clear();
    let loaded = 0;
    const onEvents = (events, gap) => {
      if (gap) feed.gap({ ...gap, received: Date.now() });
      for (const event of events) feed.event(rowOf(event));
      loaded += events.length;
      view.set({ ...view.get(), loaded });
    };
    const found = await readHistory(wanted, start, { signal: own.signal, onEvents });
    if (own.signal.aborted) return;
    if (found.error) {
      become("stopped", { error: sentence(found.error) });
      stream.close();
      return;
    }
    become("listening");
    if (found.whole) feed.note("Rewound", `${plural(loaded, "event")} of the past up to ${found.next}; what follows is live`);
    else feed.note("Not all of it", `after ${count(MOST)} events this page stops rewinding: those from ${found.next} to the present are left out`);
    stream.listen(wanted, { after: found.whole ? found.next : "" });
  }

  return {
    view,
    rewind,

    /** From where the stream stands; after a stop from the present. */
    listen: (wanted) => channels.set([...wanted]),

    /** At once: nothing comes, and nothing is asked for, until the reader says so. */
    stop() {
      become("stopped");
      stream.close();
    },

    /** Whether the frames that are no events are shown, from now on. */
    showFrames(frames) {
      view.set({ ...view.get(), frames });
    },
  };
}

/** A frame of the server about the stream itself, as the browser lets us know of it. */
function tell({ state, note }, position, feed) {
  if (state === "live") feed.note("ready", position ? `goes on from ${position}` : "");
  if (state === "reconnecting") feed.note(note ? "bye" : "cut", note ?? "");
}

const text = (value) => (value === undefined || value === null ? "" : String(value));

function rowOf({ id, channel, type, key, at, messageId, raw }) {
  return { id, channel, type: text(type), key: text(key), at: Date.parse(at), messageId: text(messageId), raw };
}
