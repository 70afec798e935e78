// JSON as text. A debugger must show what was sent, so nothing is parsed and printed again:
// 12345678901234567890 keeps its digits, and repeated keys stay.

const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null|[{}[\]:,]/g;
const OPEN = "{[";
const CLOSE = "}]";

/** The text of a member of the outermost object, or "" when it has none. */
export function member(text, name) {
  const wanted = JSON.stringify(name);
  let depth = 0;
  let key = "";
  let start = -1;
  for (const { 0: token, index } of text.matchAll(TOKEN)) {
    if (depth === 1 && start >= 0 && (token === "," || token === "}")) {
      return text.slice(start, index).trim();
    }
    if (OPEN.includes(token)) depth += 1;
    else if (CLOSE.includes(token)) depth -= 1;
    else if (depth === 1 && token === ":") {
      if (key === wanted) start = index + 1;
    } else if (depth === 1) key = token;
  }
  return "";
}

/** Indented, as a list of [kind, text] with kind key, string, number, word or plain. */
export function pretty(text) {
  const tokens = text.match(TOKEN) ?? [];
  const parts = [];
  let depth = 0;
  const add = (kind, piece) => {
    const last = parts.at(-1);
    if (last?.[0] === kind) last[1] += piece;
    else parts.push([kind, piece]);
  };
  const line = () => `\n${"  ".repeat(depth)}`;
  for (const [at, token] of tokens.entries()) {
    const next = tokens[at + 1];
    if (OPEN.includes(token)) {
      const empty = CLOSE.includes(next ?? " ");
      depth += 1;
      add("plain", empty ? token : token + line());
    } else if (CLOSE.includes(token)) {
      depth = Math.max(0, depth - 1);
      add("plain", OPEN.includes(tokens[at - 1] ?? " ") ? token : line() + token);
    } else if (token === ",") add("plain", token + line());
    else if (token === ":") add("plain", ": ");
    else add(kindOf(token, next), token);
  }
  return parts;
}

function kindOf(token, next) {
  if (token[0] === '"') return next === ":" ? "key" : "string";
  return /^[-\d]/.test(token) ? "number" : "word";
}
