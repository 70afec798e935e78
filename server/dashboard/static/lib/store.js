// A value that components can watch. Small on purpose: the page has a handful of these.

import { useEffect, useState } from "../vendor/htm-preact.js";

export function createStore(value) {
  const watchers = new Set();
  return {
    get: () => value,
    set(next) {
      if (next === value) return;
      value = next;
      for (const watcher of [...watchers]) watcher();
    },
    watch(watcher) {
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
  };
}

export function useStore(store) {
  const [, redraw] = useState(0);
  const seen = store.get();
  useEffect(() => {
    const changed = () => redraw((count) => count + 1);
    // The value may have moved between this component's render and its effect.
    if (store.get() !== seen) changed();
    return store.watch(changed);
  }, [store]);
  return seen;
}
