// A component's own channels, for as long as it is on the page.

import { useEffect, useRef } from "../vendor/htm-preact.js";
import { createStream } from "./stream.js";

/** Handlers may change from one drawing to the next; the stream is opened anew only for other
 * channels. An empty list opens none. */
export function useStream(channels, handlers) {
  const current = useRef(handlers);
  current.current = handlers;
  useEffect(() => {
    if (!channels.length) return undefined;
    const stream = createStream({
      onEvent: (event) => current.current.onEvent?.(event),
      onGap: (gap) => current.current.onGap?.(gap),
      onReady: (ready) => current.current.onReady?.(ready),
    });
    stream.listen(channels);
    return stream.close;
  }, [channels.join()]);
}
