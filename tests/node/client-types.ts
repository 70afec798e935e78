// What TypeScript must take of the browser client's types, and what it must refuse.

import { connect, type Gap, type Status, type TailraceEvent } from "../../server/dashboard/client/client.js";

interface Order {
  total: number;
}

const stream = connect<Order>({
  url: new URL("https://events.example/api/stream"),
  channels: new Set(["public.orders.>"]),
  after: "3f2a9c1e.1042",
  mode: "latest",
  token: async () => ({ token: "trt_1", expiresIn: 600 }),
  headers: { "X-Request-Id": "1" },
  credentials: "include",
  shared: "orders",
  onEvent: ({ id, key, data, raw }) => console.log(id.length, key ?? "", data.total.toFixed(2), raw),
  onStatus(status: Status) {
    if (status.state === "ended") console.log(status.error?.status, status.error?.issues?.[0]?.path);
    if (status.until) console.log(new Date(status.until), status.reason === "overload");
  },
  onGap: (gap: Gap) => console.log(gap.reason === "pruned", gap.resumed),
  refetch: async () => void (await fetch("/api/orders")),
  onFrame: ({ id, event, data, retry }) => console.log(id, event, data, retry),
});

stream.add("public.a", "public.b");
stream.remove("public.a");
const { position, channels, status }: { position: string; channels: readonly string[]; status: Status } = stream;
console.log(position, channels.length, status.transport);
for await (const event of stream) {
  const typed: TailraceEvent<Order> = event;
  console.log(typed.data.total);
  break;
}
stream.retry();
stream.close();

connect({ channels: ["public.a"], token: () => "trk_1", rewind: 10, shared: true, since: new Date() });
// @ts-expect-error Channels are needed.
connect({});
// @ts-expect-error The mode is one of two.
connect({ channels: [], mode: "newest" });
// @ts-expect-error A position is not set.
stream.position = "";

export {};
