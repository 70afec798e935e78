// Where the reader is: `#/events?channels=…`. Behind #, so that the server has one page to serve
// and a view can be reloaded, shared and gone back from.

import { createStore } from "./store.js";

export function createRouter() {
  const route = createStore(read());
  addEventListener("hashchange", () => route.set(read()));

  return {
    route,

    go(path, params = {}) {
      location.hash = address(path, params);
    },

    /** The same page seen differently: no step of its own in the history. */
    refine(params) {
      const { path } = route.get();
      history.replaceState(null, "", `#${address(path, params)}`);
      route.set(read());
    },
  };
}

/** For a link's href, behind the #. Parameters that are empty are left out. */
export function address(path, params = {}) {
  const query = new URLSearchParams(Object.entries(params).filter(([, value]) => value));
  return query.size ? `${path}?${query}` : path;
}

function read() {
  const [path, query] = location.hash.slice(1).split("?", 2);
  return { path: path || "/", params: new URLSearchParams(query) };
}
