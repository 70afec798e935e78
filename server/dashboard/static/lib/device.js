// A device's name as people know it, from its User-Agent header. The order counts: each browser
// also claims to be those that came before it.

const BROWSERS = [
  [/Edg(?:A|iOS)?\/(\d+)/, "Edge"],
  [/OPR\/(\d+)/, "Opera"],
  [/SamsungBrowser\/(\d+)/, "Samsung Internet"],
  [/(?:Firefox|FxiOS)\/(\d+)/, "Firefox"],
  [/HeadlessChrome\/(\d+)/, "Headless Chrome"],
  [/(?:Chrome|CriOS)\/(\d+)/, "Chrome"],
  [/Version\/(\d+)[\d.]* (?:Mobile\/\S+ )?Safari\//, "Safari"],
];
const SYSTEMS = [
  [/iPhone/, "iPhone"],
  [/iPad/, "iPad"],
  [/Android/, "Android"],
  [/Windows/, "Windows"],
  [/Mac OS X|Macintosh/, "macOS"],
  [/CrOS/, "ChromeOS"],
  [/Linux/, "Linux"],
];

/** `Firefox 128 on Linux`; of a program its own name; "" of nothing. */
export function deviceOf(agent) {
  if (!agent) return "";
  const [rule, browser] = BROWSERS.find(([each]) => each.test(agent)) ?? [];
  const system = SYSTEMS.find(([each]) => each.test(agent))?.[1];
  // `curl/8.5.0`, with or without more behind it; else as it is.
  const program = /^[^\s/]+\/[^\s;(]+/.exec(agent)?.[0].replace("/", " ");
  const name = browser ? `${browser} ${agent.match(rule)[1]}` : (program ?? agent).slice(0, 60);
  return system ? `${name} on ${system}` : name;
}
