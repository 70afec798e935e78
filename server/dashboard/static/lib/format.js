// Numbers, times and positions as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 2 });

/** 12,345; from a million on 1.23M. */
export const count = (n) => (Math.abs(n) < 1e6 ? whole : compact).format(n);

export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

/** A size: 812 B, 4.2 MB. In steps of 1,024, as the limits are. */
export function bytes(n) {
  if (n < 1024) return `${count(n)} B`;
  const step = Math.min(4, Math.floor(Math.log(n) / Math.log(1024)));
  const value = n / 1024 ** step;
  return `${Number(value.toFixed(value < 10 ? 1 : 0))} ${["KB", "MB", "GB", "TB"][step - 1]}`;
}

/** A duration in milliseconds: 3 ms, 1.24 s, 2.1 min. */
export function duration(ms) {
  if (ms >= 0 && ms < 1) return "< 1 ms";
  if (Math.abs(ms) < 1000) return `${Math.round(ms)} ms`;
  if (Math.abs(ms) < 60_000) return `${(ms / 1000).toFixed(2)} s`;
  return `${(ms / 60_000).toFixed(1)} min`;
}

const pad = (n, width = 2) => String(n).padStart(width, "0");

/** The local time of day to the millisecond: 18:04:05.123. */
export function clock(at) {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return "--:--:--.---";
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}.${pad(date.getMilliseconds(), 3)}`;
}

/** How long ago, roughly: now, 5 min, 3 h, 2 d. */
export function ago(at, now = Date.now()) {
  const seconds = (now - new Date(at).getTime()) / 1000;
  if (Number.isNaN(seconds)) return "";
  if (seconds < 45) return "now";
  if (seconds < 3600) return `${Math.max(1, Math.round(seconds / 60))} min`;
  if (seconds < 86_400) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}
