// What the page measures: events per second, the total, and the latency from commit to browser.
// Counting is a few additions per event; everything else happens when somebody looks.

export const SPAN = 120; // seconds shown in the plot
const SLOTS = 256; // seconds kept; a power of two above SPAN
const SAMPLES = 100;

export function createMeter() {
  const perSecond = new Uint32Array(SLOTS);
  const second = new Float64Array(SLOTS);
  const latencies = new Float64Array(SAMPLES);
  const started = Date.now();
  let total = 0;
  let samples = 0;

  const firstSecond = Math.floor(started / 1000);

  const at = (moment) => {
    if (moment < firstSecond) return null; // nothing was measured before the page was there
    const slot = moment % SLOTS;
    return second[slot] === moment ? perSecond[slot] : 0;
  };

  return {
    started,

    /** `at` is the event's own time in ms, NaN when it carries none. */
    count(sent, now) {
      // Slots are keyed by their second: a background tab's late timers cannot shift the counts.
      const moment = Math.floor(now / 1000);
      const slot = moment % SLOTS;
      if (second[slot] !== moment) {
        second[slot] = moment;
        perSecond[slot] = 0;
      }
      perSecond[slot] += 1;
      total += 1;
      if (Number.isFinite(sent)) latencies[samples++ % SAMPLES] = now - sent;
    },

    read(now) {
      const last = Math.floor(now / 1000) - 1; // the last whole second
      const from = last - SPAN;
      const rates = Array.from({ length: SPAN + 1 }, (_, step) => at(from + step));
      return {
        total,
        rate: at(last) ?? 0,
        peak: Math.max(...rates),
        latency: median(latencies.subarray(0, Math.min(samples, SAMPLES))),
        // A second is drawn where it ends: what happened in it is known only then.
        times: Array.from({ length: SPAN + 1 }, (_, step) => from + step + 1),
        rates,
      };
    },
  };
}

function median(values) {
  if (!values.length) return null;
  const sorted = values.slice().sort();
  return sorted[(sorted.length - 1) >> 1];
}
