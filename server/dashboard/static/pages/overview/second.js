// The time now, renewed just after each full second while the page is to be seen.

import { useEffect, useState } from "../../vendor/htm-preact.js";

export function useSecond() {
  const [now, set] = useState(Date.now);
  useEffect(() => {
    let timer = 0;
    const next = () => {
      clearTimeout(timer);
      if (document.visibilityState !== "visible") return; // it goes on when it is seen again
      set(Date.now());
      timer = setTimeout(next, 1000 - (Date.now() % 1000) + 5);
    };
    next();
    document.addEventListener("visibilitychange", next);
    return () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", next);
    };
  }, []);
  return now;
}
