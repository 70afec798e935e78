/** Tailrace's browser client, as served at /client.js. See docs/clients.md. */

/** An event of a channel. `T`: what its publishers put into `data`. */
export interface TailraceEvent<T = any> {
  /** Its SSE id, to resume after; "" for an ephemeral event, which is never replayed. */
  readonly id: string;
  readonly channel: string;
  readonly type: string;
  /** What it is about: for a watched table the primary key. */
  readonly key: string | null;
  /** ISO 8601, when it was published. */
  readonly at: string;
  /** "" for an ephemeral event. */
  readonly messageId: string;
  readonly data: T;
  /** The text of the block's `data`. While polling it is made anew from JSON. */
  readonly raw: string;
}

/** Why and where events are missing: fetch the state again. */
export interface Gap {
  readonly after: string | null;
  readonly resumed: string;
  readonly reason: "pruned" | "epoch" | "ahead" | "malformed";
}

/** What was refused or failed: the fields of application/problem+json. `status` 0: no answer. */
export interface Problem {
  readonly status: number;
  readonly error: string;
  readonly detail?: string;
  readonly issues?: readonly { path: readonly (string | number)[]; message: string; code: string }[];
  readonly request_id?: string;
  readonly [field: string]: unknown;
}

export interface Status {
  /** `ended`: asking again cannot help until somebody changes something; see `retry()`. */
  readonly state: "connecting" | "live" | "reconnecting" | "ended";
  readonly transport: "stream" | "poll";
  /** Through what the browser's one connection is shared; `false`: a connection of its own. */
  readonly shared: "worker" | "leader" | "follower" | false;
  readonly error?: Problem;
  /** Why the server ended the connection. */
  readonly reason?: "shutdown" | "max-age" | "expired" | "revoked" | "overload";
  /** When it is tried again, in ms since 1970. */
  readonly until?: number;
}

/** A block of the event stream, its fields only if they were told. */
export interface Frame {
  readonly id?: string;
  readonly event?: string;
  readonly data?: string;
  readonly retry?: number;
}

/** `expiresIn`: seconds. With it a new one is asked for in time. */
export type Token = string | { token: string; expiresIn?: number };

export interface Options<T = any> {
  /** Default: `/api/stream` on the host that served this module. */
  url?: string | URL;
  /** Channels and patterns; 128 at most. May be empty: nothing is opened until `add`. */
  channels: Iterable<string>;
  /** Resume after this id, or `earliest`. Give at most one of `after`, `rewind`, `since`. */
  after?: string;
  /** Start with the last so many events. */
  rewind?: number;
  /** Start at this time, or so long ago: `10m`. */
  since?: string | Date;
  mode?: "all" | "latest";
  /** Asked for a bearer token at first, before one expires, and after a 401. */
  token?: () => Token | Promise<Token>;
  headers?: Record<string, string>;
  /** Of every request, as fetch takes it. Default: `same-origin`. */
  credentials?: RequestCredentials;
  /** One connection for all tabs of this origin; a name keeps groups apart. Default: `false`. */
  shared?: boolean | string;
  /** Without it, and without `onFrame`, events wait for a loop. */
  onEvent?(event: TailraceEvent<T>): void;
  onStatus?(status: Status): void;
  onGap?(gap: Gap): void;
  /** Fetch the state again. What follows the gap waits for it; if it rejects, it is tried again. */
  refetch?(gap: Gap): unknown;
  /** Every block that comes, as it comes, before anything is made of it. */
  onFrame?(frame: Frame): void;
}

/** A subscription that stays: it ends with `close()`, or as `ended` by an answer like 403. */
export interface Stream<T = any> extends AsyncIterable<TailraceEvent<T>> {
  /** The id up to which everything was given out; "" until it is known. */
  readonly position: string;
  readonly status: Status;
  readonly channels: readonly string[];
  /** Reopens at the position; several calls in one tick are one reopening. */
  add(...channels: string[]): void;
  remove(...channels: string[]): void;
  /** Connect now: instead of waiting longer, or after it has ended. */
  retry(): void;
  close(): void;
  /** One loop at a time. It throws what `ended` the stream, and holds `onEvent` to its pace. */
  [Symbol.asyncIterator](): AsyncIterator<TailraceEvent<T>>;
}

export function connect<T = any>(options: Options<T>): Stream<T>;
