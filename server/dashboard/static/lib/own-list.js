// A list that no event tells of (API keys, sessions): read when its page opens, after each of this
// page's own actions, and when the reader comes back to the tab. Never polled.

import { useEffect, useState } from "../vendor/htm-preact.js";
import { call } from "./api.js";
import { sentence } from "./sentence.js";

/** `{ data, error, load }`: `data` is null before the first answer, and stays while one is awaited.
 * `onRefused`: the session has ended. */
export function useOwnList(path, onRefused) {
  const [state, set] = useState({ data: null, error: "" });
  const load = async () => {
    const answer = await call("GET", path);
    if (answer.status === 401 || answer.status === 403) onRefused();
    set(answer.ok ? { data: answer.data, error: "" } : ({ data }) => ({ data, error: sentence(answer) }));
  };
  useEffect(() => {
    const look = () => document.visibilityState === "visible" && load();
    look();
    document.addEventListener("visibilitychange", look);
    return () => document.removeEventListener("visibilitychange", look);
  }, [path]);
  return { ...state, load };
}
