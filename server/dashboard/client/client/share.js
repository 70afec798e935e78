// A tab's way to the connection that all share: held by a SharedWorker, or by the tab that leads.

import { createHub, shut } from "./hub.js";

/** Milliseconds between pings; a hub that leaves three unanswered is dead or frozen. */
const PING = 2000;

export function share({ token, ...asked }, name, { onFrames, onStatus, onAlone, onOpen, onStart }) {
  const { locks } = navigator;
  const id = crypto.randomUUID();
  asked.token = !!token;
  // The number is that of the messages: tabs with an older module keep to themselves.
  const key = `tailrace ${JSON.stringify([3, name, Object.entries(asked).sort()])}`;
  let port, worker, door, hub, mine, kind, answered, closed, release, waiting, resign;
  let unanswered = 0;
  let taken = 0;
  let turn = 0;

  const send = (message) => port?.postMessage(message);

  function use(next) {
    shut(port);
    port = next;
    port.onmessage = hear;
    unanswered = taken = 0;
    answered = false;
    onOpen();
  }

  const verbs = {
    start: onStart,
    async token() {
      send({ given: [await Promise.resolve().then(token).catch(() => {})] });
    },
    alone() {
      close();
      onAlone();
    },
  };

  function hear({ data }) {
    unanswered = 0;
    answered = true;
    const { frames, from, sent, status } = data;
    // What was said to an earlier joining may be too old for this one.
    const timely = data.turn === turn;
    if (frames) {
      const whole = from === taken;
      taken = sent;
      send({ taken });
      // Browsers may drop what is posted to a tab that is frozen: a ping's answer tells of it.
      if (timely) whole ? onFrames(frames) : onOpen();
    }
    if (status && timely) onStatus({ ...status, shared: kind });
    verbs[data]?.();
  }

  function work() {
    kind = "worker";
    try {
      worker = new SharedWorker(new URL("hub.js", import.meta.url), { type: "module", name: key });
    } catch {
      return follow();
    }
    worker.onerror = () => door || follow();
    use(worker.port);
  }

  function follow() {
    if (closed) return;
    port = shut(port);
    door = new BroadcastChannel(key);
    door.onmessage = ({ data }) => {
      if (!data.hub || data.hub === hub) return;
      hub = data.hub;
      kind = hub === mine ? "leader" : "follower";
      use(new BroadcastChannel(key + hub + id));
    };
    elect();
    door.postMessage({});
  }

  function elect(steal) {
    let leads;
    waiting?.abort();
    waiting = new AbortController();
    const how = steal ? { steal } : waiting;
    // It fails when another steals it: what froze has thawed, and steps down.
    locks.request(key, how, () => (leads = holdHub())).catch(() => {
      if (!leads) return;
      resign();
      if (!closed) elect();
    });
  }

  function holdHub() {
    if (closed) return;
    const own = (mine = crypto.randomUUID());
    const hall = new BroadcastChannel(key);
    const held = createHub({ ...asked });
    hall.onmessage = ({ data }) => {
      if (data.to === own) held.join(new BroadcastChannel(key + own + data.id), data);
      else if (!data.to && !data.hub) hall.postMessage({ hub: own });
    };
    hall.postMessage({ hub: own });
    return new Promise((resolve) => {
      resign = () => {
        held.close();
        shut(hall);
        resolve();
      };
    });
  }

  const beat = setInterval(() => {
    // Who was frozen may have missed who leads now.
    if (unanswered > 1) door?.postMessage({});
    if (unanswered++ < 3) send({ taken, ping: 1 });
    else {
      unanswered = 0;
      if (door) elect(true);
      else if (answered) work();
      else follow();
    }
  }, asked.times?.ping ?? PING);

  // Held for as long as this tab lives, however it ends: who gets it knows that the tab is gone.
  locks.request(id, () => {
    if (closed) return;
    if (globalThis.SharedWorker && new URL(import.meta.url).origin === location.origin) work();
    else follow();
    return new Promise((resolve) => (release = resolve));
    // Where storage is forbidden there are no locks.
  }).catch(verbs.alone);

  function close() {
    closed = true;
    clearInterval(beat);
    waiting?.abort();
    resign?.();
    port = shut(port);
    shut(door);
    if (worker) worker.onerror = null;
    release?.();
  }

  return {
    close,
    open(next) {
      const message = { id, asked, turn: ++turn, ...next };
      // A hub that has not spoken yet may not listen at its end of the port.
      if (!door || answered) send(message);
      else door.postMessage({ to: hub ?? id, ...message });
    },
    stop: () => send("stop"),
    wake: () => send("wake"),
    retry: () => send("retry"),
  };
}
