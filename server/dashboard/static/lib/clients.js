// How many clients are connected, from `ops.metrics`: each server process reports its own count
// once a second, so the whole is the sum of the recent reports.

const FRESH = 4_000;

export function createClients() {
  const reports = new Map();
  return {
    note(data, now) {
      if (typeof data?.clients !== "number") return;
      reports.set(String(data.process ?? ""), { clients: data.clients, now });
    },
    read(now) {
      let clients = 0;
      for (const [process, report] of reports) {
        if (now - report.now > FRESH) reports.delete(process);
        else clients += report.clients;
      }
      return { clients: reports.size ? clients : null, processes: reports.size };
    },
  };
}
