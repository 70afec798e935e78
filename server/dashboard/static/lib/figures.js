// What the server processes tell of themselves once a second on `ops.metrics`, kept for a while:
// of all together and of each.

export const SPAN = 180; // seconds shown
const FRESH = 4; // seconds for which a report counts; then its process has ended, or can't be heard
const MOST = 100; // processes
const EARLY = 500; // ms: two reports of one process that are closer than this are one

export const STATES = ["accepted", "done", "unhandled", "unmatched", "failed", "dead", "repeated", "refused"];

const latency = (part) => (data) => data.latency?.[part] ?? null;
// Of all processes together: a sum, or the worst of them where a sum would mean nothing.
const FIELDS = {
  clients: { of: (data) => data.clients },
  lagging: { of: (data) => data.lagging },
  events: { of: (data) => data.events_per_second, worst: true }, // every process hears of every event
  deliveries: { of: (data) => data.deliveries_per_second },
  written: { of: (data) => data.bytes_per_second },
  p50: { of: latency("p50"), worst: true },
  p99: { of: latency("p99"), worst: true },
  memory: { of: (data) => data.memory },
  cpu: { of: (data) => data.cpu },
  running: { of: (data) => data.gauges?.uploads_running },
  uploaded: { of: (data) => data.rates?.upload_bytes },
};
for (const state of STATES) FIELDS[state] = { of: (data) => data.rates?.webhooks?.[state] };
const NAMES = Object.keys(FIELDS);

export function createFigures() {
  const processes = new Map(); // by name: { data, heard, reports: [{ second, values }] }, oldest first

  function note(data, now) {
    const { process, clients } = data ?? {};
    if (typeof process !== "string" || typeof clients !== "number") return;
    const known = processes.get(process) ?? { reports: [] };
    const { reports } = known;
    const last = reports.at(-1);
    // Reports come a little early or late: two in one second, none in the next.
    const early = last && last.second >= Math.floor(now / 1000);
    if (early && now - known.heard < EARLY) reports.pop();
    const second = early && now - known.heard >= EARLY ? last.second + 1 : Math.floor(now / 1000);
    reports.push({ second, values: NAMES.map((name) => number(FIELDS[name].of(data))) });
    while (reports[0].second < second - SPAN - FRESH) reports.shift();
    processes.set(process, { data, heard: now, reports });
    if (processes.size > MOST) forget(now);
  }

  function forget(now) {
    for (const [process, { heard }] of processes) {
      if (processes.size > MOST || now - heard > SPAN * 1000) processes.delete(process);
    }
  }

  return {
    note,

    /** The last `SPAN` seconds of one process, or of all ("").
     *
     * `lines`: by name, a value or null for each of `times`. `processes`: who was heard lately, with
     * what they said last, oldest first.
     */
    read(now, chosen = "") {
      const last = Math.floor(now / 1000);
      const times = Array.from({ length: SPAN + 1 }, (_, step) => last - SPAN + step);
      const lines = Object.fromEntries(NAMES.map((name) => [name, new Array(times.length).fill(null)]));
      const heard = [];
      for (const [process, { data, heard: at, reports }] of processes) {
        if (now - at < FRESH * 1000) heard.push(data);
        if (!chosen || chosen === process) add(lines, times, reports);
      }
      heard.sort((a, b) => b.uptime - a.uptime);
      return { times, lines, processes: heard };
    },
  };
}

function add(lines, times, reports) {
  let next = 0;
  times.forEach((time, step) => {
    while (next < reports.length && reports[next].second <= time) next += 1;
    const report = reports[next - 1];
    if (!report || time - report.second >= FRESH) return;
    report.values.forEach((value, index) => {
      if (value === null) return;
      const line = lines[NAMES[index]];
      const { worst } = FIELDS[NAMES[index]];
      line[step] = worst ? Math.max(line[step] ?? 0, value) : (line[step] ?? 0) + value;
    });
  });
}

const number = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);
