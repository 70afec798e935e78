// The pages, as the navigation lists them. One is a module beside this one that exports a component
// as its default; it is loaded when it is first visited. `access`: who it is for.

import * as icons from "../view/icons.js";

export const PAGES = [
  { path: "/", title: "Overview", icon: icons.Pulse, access: "all", load: () => import("./overview.js") },
  { path: "/events", title: "Events", icon: icons.List, access: "all", load: () => import("./events.js") },
  { path: "/streams", title: "Streams", icon: icons.Streams, access: "admin", load: () => import("./streams.js") },
  { path: "/webhooks", title: "Webhooks", icon: icons.Hook, access: "admin", load: () => import("./webhooks.js") },
  { path: "/uploads", title: "Uploads", icon: icons.Upload, access: "user", load: () => import("./uploads.js") },
  { path: "/example", title: "Notifications and posts", icon: icons.Bell, access: "user", load: () => import("./example.js") },
  { path: "/keys", title: "API keys", icon: icons.Key, access: "admin", load: () => import("./keys.js") },
  { path: "/sessions", title: "Sessions", icon: icons.Person, access: "user", load: () => import("./sessions.js") },
];

export const SIGN_IN = { path: "/sign-in", title: "Sign in", access: "all", load: () => import("./sign-in.js") };

/** The page of an address; null: there is none. */
export const pageOf = (path) => [...PAGES, SIGN_IN].find((page) => page.path === path) ?? null;
