// The connection that tabs share. It keeps no events: who needs older ones than the others has it
// opened again further back, and each drops what it has had.

import { ask, createConnection, epoch, judge, matcher, number } from "./connection.js";

/** Channels of a connection, by the server's limit. */
const MOST = 128;
/** Characters on their way to a tab; who takes none is resumed from its position later. */
const WAITING = 4e6;
/** Milliseconds for a token; a frozen tab gives none. */
const PATIENCE = 5000;

export function createHub(asked) {
  const tabs = new Map();
  let position = "";
  let current, planned, status;
  if (asked.token) asked.token = anyToken;
  const connection = createConnection(asked, { onFrames, onStatus });

  const active = () => [...tabs.values()].filter((tab) => tab.channels);

  function join(port, data) {
    const { id, channels } = data;
    let tab = tabs.get(id);
    if (tab?.port !== port) {
      tab?.port.close();
      const own = (tab = { id, port, sent: 0, taken: 0 });
      own.say = (message) => tabs.get(id) === own && port.postMessage(message);
      tabs.set(id, own);
      port.onmessage = ({ data }) => hear(own, data);
      navigator.locks.request(id, () => drop(own));
    }
    // It is not fed before the connection stands where it needs it.
    Object.assign(tab, data, { matches: matcher(channels), fed: false });
    plan();
  }

  function hear(tab, data) {
    if (data.id) join(tab.port, data);
    if (data.ping) tab.say("pong");
    if (data === "wake") connection.wake();
    if (data === "stop") leave(tab);
    if (data.given !== undefined) tab.given?.(data.given);
    tab.taken = data.taken ?? tab.taken;
    if (tab.late && tab.taken === tab.sent) {
      tab.late = false;
      tab.say("open");
    }
  }

  function leave(tab) {
    tab.channels = undefined;
    plan();
  }

  function drop(tab) {
    if (tabs.get(tab.id) !== tab) return;
    tabs.delete(tab.id);
    tab.port.close();
    leave(tab);
  }

  function plan() {
    clearTimeout(planned);
    planned = setTimeout(sync);
  }

  function sync() {
    // What lies before the present concerns only one: it comes back with a position.
    for (const tab of active().reverse())
      if (!tab.position && (position || active()[1])) {
        tab.channels = undefined;
        tab.say("start");
      }
    const all = active();
    const channels = [...new Set(all.flatMap((tab) => tab.channels))].sort();
    if (channels.length > MOST) return alone(all.at(-1));
    const [oldest] = all.sort((a, b) => number(a.position) - number(b.position));
    const before = current;
    current = channels.join();
    for (const tab of all) tab.fed = true;
    if (!oldest) connection.stop();
    else if (current === before && all.every(stands)) {
      connection.wake();
      all.forEach(inform);
    } else {
      const { position, start } = oldest;
      connection.open({ channels, position, start }, status?.state === "live");
    }
  }

  // Who has joined anew is not fed yet, and is told what holds then.
  const inform = (tab) => tab.fed && tab.say({ status, turn: tab.turn });

  const stands = (tab) =>
    epoch(tab.position) === epoch(position) && number(tab.position) >= number(position);

  function alone(tab) {
    tab.say("alone");
    drop(tab);
  }

  function onFrames(frames) {
    const channels = frames.map(({ data }) => /^{"channel":"([^"]+)/.exec(data)?.[1]);
    for (const { id } of frames) position = id ?? position;
    for (const tab of active()) {
      if (!tab.fed) continue;
      const own = frames.filter((_, index) => tab.matches(channels[index]));
      if (own.at(-1) !== frames.at(-1)) own.push({ id: position });
      const from = tab.sent;
      for (const { data = "" } of own) tab.sent += data.length + 50;
      tab.say({ frames: own, from, sent: tab.sent, turn: tab.turn });
      if (!stands(tab)) tab.position = position;
      if (tab.sent - tab.taken > WAITING) {
        tab.late = true;
        leave(tab);
      }
    }
  }

  function onStatus(told) {
    status = told;
    if (told.state === "ended") refused(told);
    // After the frames that go with it: who is told `live` has a position, and misses nothing.
    else queueMicrotask(() => active().forEach(inform));
  }

  /** Whose channels is it? The others go on. */
  async function refused(told) {
    const { error } = told;
    const all = active();
    current = undefined;
    let found;
    for (const tab of all) {
      const problem = all.length > 1 && error.status < 404 ? await refusal(tab) : error;
      if (!problem) continue;
      found = true;
      if (!problem.status) continue;
      tab.say({ status: { ...told, error: problem }, turn: tab.turn });
      tab.channels = undefined;
    }
    // Each alone may, all together may not.
    if (all[0] && !found) alone(all.at(-1));
    plan();
  }

  async function refusal(tab) {
    try {
      const token = asked.token && (await tokenOf(tab));
      await judge(await ask(asked, "events", { channels: tab.channels, limit: 1 }, token));
    } catch ({ problem = {} }) {
      return problem;
    }
  }

  const tokenOf = (tab) =>
    new Promise((resolve) => {
      tab.given = resolve;
      tab.say("token");
      setTimeout(resolve, PATIENCE);
    });

  async function anyToken() {
    for (const tab of [...active(), ...tabs.values()]) {
      const given = await tokenOf(tab);
      if (given) return given;
      // It may be frozen: next time the others come first.
      if (tabs.delete(tab.id)) tabs.set(tab.id, tab);
    }
    throw Error("No token");
  }

  return {
    join,
    close() {
      tabs.forEach(drop);
      connection.stop();
    },
  };
}

if (globalThis.SharedWorkerGlobalScope) {
  let hub;
  globalThis.onconnect = ({ ports: [port] }) => {
    port.onmessage = ({ data }) => {
      if (data.id) (hub ??= createHub(data.asked)).join(port, data);
    };
  };
}
