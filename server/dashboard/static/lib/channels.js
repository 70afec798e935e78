// Channel names and patterns, by the server's rules: segments of [A-Za-z0-9_-] joined by dots,
// `*` stands for one segment, a final `>` for all the rest.

export const METRICS = "ops.metrics";
const LIMIT = 126; // a stream has 128; the page may add the metrics and the uploads
const SEGMENT = /^[A-Za-z0-9_-]+$/;

export function parseList(text) {
  const channels = [...new Set(text.split(/[\s,]+/).filter(Boolean))];
  if (!channels.length) return { channels, error: "Name at least one channel, such as public.>" };
  if (channels.length > LIMIT) return { channels, error: `At most ${LIMIT} channels on one stream` };
  const bad = channels.find((channel) => !isPattern(channel));
  return bad === undefined
    ? { channels, error: "" }
    : { channels, error: `“${bad}” is not a channel: use letters, digits, - and _ with dots between; * for one part, > at the end for the rest` };
}

export function isName(text) {
  return text.length <= 200 && text.split(".").every((part) => SEGMENT.test(part));
}

function isPattern(text) {
  const parts = text.split(".");
  const last = parts.length - 1;
  return (
    text.length <= 200 &&
    parts.every((part, at) => part === "*" || (part === ">" && at === last) || SEGMENT.test(part))
  );
}

export function matches(pattern, name) {
  const want = pattern.split(".");
  const have = name.split(".");
  for (const [at, part] of want.entries()) {
    if (part === ">") return have.length > at;
    if (at >= have.length || (part !== "*" && part !== have[at])) return false;
  }
  return want.length === have.length;
}

export function streamPath(channels, after = "") {
  const query = channels.map((channel) => `channel=${encodeURIComponent(channel)}`);
  if (after) query.push(`after=${encodeURIComponent(after)}`);
  return `/api/stream?${query.join("&")}`;
}
