// The connection that tabs share. It keeps no events: who needs older ones than the others has it
// opened again further back, and each drops what it has had.

import { ask, createConnection, epoch, failure, judge, matcher, number } from "./connection.js";

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
      shut(tab?.port);
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
    // Nothing, to tell how much was sent: the last of it may be lost.
    if (data.ping) feed(tab, []);
    if (data === "stop") leave(tab);
    if (data === "wake") connection.wake();
    // And does not wait even where the server asked for it.
    if (data === "retry") connection.wake(data);
    if (data.given) tab.given?.(...data.given);
    tab.taken = data.taken ?? tab.taken;
  }

  function feed(tab, frames) {
    const from = tab.sent;
    for (const { data = "" } of frames) tab.sent += data.length + 50;
    tab.say({ frames, from, sent: tab.sent, turn: tab.turn });
  }

  function leave(tab) {
    tab.channels = undefined;
    plan();
  }

  function drop(tab) {
    if (tabs.get(tab.id) !== tab) return;
    tabs.delete(tab.id);
    shut(tab.port);
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
      feed(tab, own);
      if (!stands(tab)) tab.position = position;
      if (tab.sent - tab.taken > WAITING) {
        // As if something were lost: once it has taken the rest, it joins anew.
        tab.sent++;
        feed(tab, []);
        leave(tab);
      }
    }
  }

  function onStatus(told) {
    status = told;
    if (told.state === "ended") return refused(told);
    // After the frames that go with it: who is told `live` has a position, and misses nothing.
    queueMicrotask(() => active().forEach(inform));
  }

  /** Whose channels is it? The others go on. If nobody's, but not all could tell: why not. */
  async function refused(told) {
    const all = active();
    let found = !all[0];
    let later;
    current = undefined;
    for (const tab of all) {
      const { channels } = tab;
      let fault;
      try {
        const token = asked.token && (await tokenOf(tab));
        await judge(await ask(asked, "events", { channels, limit: 1 }, token));
      } catch (error) {
        fault = failure(error);
      }
      // What was refused may not be what it wants by now.
      if (tab.channels !== channels) found = true;
      else if (fault?.final) {
        found = true;
        tab.say({ status: { ...told, error: fault.problem }, turn: tab.turn });
        tab.channels = undefined;
      } else later ??= fault;
    }
    // Each alone may, all together may not.
    return found ? plan() : (later ?? alone(all.at(-1)));
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
    // Without tabs the connection is stopped, too.
    close: () => tabs.forEach(drop),
  };
}

/** What has a handler Chromium keeps, closed or not, and all that the handler holds. */
export function shut(port) {
  if (port) port.onmessage = null;
  port?.close();
}

if (globalThis.SharedWorkerGlobalScope) {
  let hub;
  globalThis.onconnect = ({ ports: [port] }) => {
    port.onmessage = ({ data }) => {
      if (data.id) (hub ??= createHub(data.asked)).join(port, data);
    };
  };
}
