// How long something published here took to come back on this page's own stream.
// The event may arrive before the POST is answered with its id, so arrivals are remembered while
// a publish is under way.

const PATIENCE = 10_000;
const REMEMBER = 20_000;

export function createEcho() {
  const arrived = new Map();
  const awaited = new Map();
  let open = 0;

  const close = () => {
    open -= 1;
    if (!open) arrived.clear();
  };

  return {
    arrived(id, now) {
      if (!open || !id) return;
      const resolve = awaited.get(id);
      if (resolve) resolve(now);
      else if (arrived.size < REMEMBER) arrived.set(id, now);
    },

    /** Run `send`; `back` resolves to the milliseconds until its event was here, null if never. */
    async time(send) {
      open += 1;
      const start = performance.now();
      const answer = await send();
      const id = answer.ok ? answer.data?.ids?.[0] : undefined;
      if (!id) {
        close();
        return { answer, back: Promise.resolve(null) };
      }
      const back = new Promise((resolve) => {
        const done = (now) => {
          clearTimeout(timer);
          awaited.delete(id);
          close();
          resolve(now === null ? null : now - start);
        };
        const timer = setTimeout(done, PATIENCE, null);
        awaited.set(id, done);
        if (arrived.has(id)) done(arrived.get(id));
      });
      return { answer, back };
    },
  };
}
