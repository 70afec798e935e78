"""All clients: opens them, brings them back, cuts and pauses them, and knows when all have all."""

from __future__ import annotations

import asyncio
import random
import socket
from urllib.parse import urlencode

from scripts.load.client import Client
from scripts.load.judge import Witness
from scripts.load.ledger import Ledger
from scripts.load.meter import Meter, micros
from scripts.load.options import OPENING, PATTERN_SHARE, Options, Target
from scripts.load.wire import Answer, Bye, Decoder

IN_FLIGHT = 512
"""Connects at a time: what a kernel's backlog bears."""
CONNECT_SECONDS = 15.0
READY_SECONDS = 30.0
GIVE_UP = 10.0
"""Seconds without a new stream after which opening has failed."""
SMALL_BUFFER = 4096
"""SO_RCVBUF of those that stop reading: the kernel would hide a stall for a megabyte."""
OVERLOAD = (
    "the server refused {count:,} streams with `bye: {reason}`: its limits hold. Start it with"
    " TAILRACE_LIMITS=off, or raise its limits on streams (docs/settings.md)"
)


class RefusalError(Exception):
    """The server does not let the test happen; the message says why and what to do."""


class Crowd:
    """The clients of a run."""

    def __init__(self, options: Options, target: Target, ledger: Ledger, meter: Meter) -> None:
        self.options = options
        self.target = target
        self.meter = meter
        self.decoder = Decoder(ledger)
        self.closing = False
        self.dice = random.Random(options.seed)
        self.clients = [self._client(number, ledger) for number in range(options.clients)]
        self.denial: str | None = None
        self._gate = asyncio.Semaphore(IN_FLIGHT)
        self._tasks: set[asyncio.Task[None]] = set()
        self._bye = ""
        self._started = 0
        self._last_start = 0

    def _client(self, number: int, ledger: Ledger) -> Client:
        channels = self.options.channels
        if self.options.scenario == "mixed" and number % PATTERN_SHARE == 0:
            wanted, name = range(channels), ledger.pattern
        else:
            own = number % channels
            wanted, name = range(own, own + 1), ledger.name(own)
        path = f"/api/stream?{urlencode({'channel': name})}"
        return Client(self, Witness(number, wanted), path)

    def some(self, share: float) -> list[Client]:
        """A random share of all, at least one if the share is above 0."""
        count = min(len(self.clients), max(1, round(share * len(self.clients)))) if share else 0
        return self.dice.sample(self.clients, count)

    # --- opening ----------------------------------------------------------------------------

    async def open(self) -> None:
        """Open all, at the rate that was asked for.

        Raises:
            RefusalError: not all become ready.
        """
        began = self._last_start = micros()
        for number, client in enumerate(self.clients):
            due = began + int(number / self.options.connect_rate * 1e6)
            if (ahead := due - micros()) > 0:
                await asyncio.sleep(ahead / 1e6)
            client.since = due
            self._dial(client, 0.0)
            self._must_not_be_denied()
        while self._started < len(self.clients):
            await asyncio.sleep(0.05)
            self._must_not_be_denied()
            now = micros()
            if now - self._last_start > GIVE_UP * 1e6 or now - began > OPENING * 1.5e6:
                raise RefusalError(self._why())

    def _must_not_be_denied(self) -> None:
        if self.denial is not None:
            raise RefusalError(self.denial)

    def _why(self) -> str:
        told = f"only {self._started:,} of {len(self.clients):,} streams could be opened"
        if self._bye:
            return f"{told}: {OVERLOAD.format(count=self.meter.refused, reason=self._bye)}"
        faults = ", ".join(f"{what} ({count})" for what, count in self.meter.faults.most_common(3))
        return f"{told}: {faults or 'the server does not answer'}"

    def arrived(self, client: Client) -> None:
        """A client is ready."""
        if client.sink is self.meter.recovered:
            return
        self._started += 1
        self._last_start = micros()
        client.home()

    def refuse(self, bye: Bye) -> None:
        """`bye` instead of a stream: EventSource bears only 200, so limits are told like this."""
        self.meter.refused += 1
        self._bye = bye.reason

    def denied(self, answer: Answer) -> None:
        """An answer that repeating does not change ends the test, if it is the first one."""
        if answer.status in (400, 401, 403, 404, 405) and not self._started:
            self.denial = f"the server answers a stream with {answer.status}: no test is possible"

    # --- coming and going -------------------------------------------------------------------

    def left(self, client: Client) -> None:
        """A connection has ended: come back, as a browser would, or at once if we cut it."""
        if client.dialing:
            return  # whoever is at it sees that it is away
        if client.cut:
            delay = self.dice.uniform(0, self.options.spread)
        else:
            # Attempts that fail wait longer each time.
            delay = client.retry / 1000 * self.dice.uniform(1, 1.3) * 1.5 ** min(client.attempts, 6)
            client.attempts += 1
        self._dial(client, delay)

    def _dial(self, client: Client, delay: float) -> None:
        client.dialing = True
        task = asyncio.create_task(self._connect(client, delay))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, client: Client, delay: float) -> None:
        if delay:
            await asyncio.sleep(delay)
        try:
            # Waiting for a turn is not in the time.
            async with self._gate, asyncio.timeout(CONNECT_SECONDS):
                await self._establish(client)
        except (OSError, TimeoutError) as error:
            self.meter.faults[f"no connection: {_word(error)}"] += 1
            # What a storm cut has come back at once; now it waits longer each time, too.
            client.cut = False
            client.abort()
        finally:
            client.dialing = False
        if client.state == "away" and not self.closing:
            self.left(client)

    async def _establish(self, client: Client) -> None:
        sock = socket.socket(self.target.family, socket.SOCK_STREAM)
        try:
            await self._join(client, sock)
        except BaseException:
            sock.close()
            raise

    async def _join(self, client: Client, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        if client.slow:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        sock.setblocking(False)
        await loop.sock_connect(sock, self.target.address)
        tls = self.target.tls
        await loop.create_connection(
            lambda: client, sock=sock, ssl=tls, server_hostname=self.target.name if tls else None
        )

    def cut(self, clients: list[Client]) -> int:
        """Cut these connections all at once; how many were open."""
        open_ = [client for client in clients if client.state == "ready" and not client.paused]
        for client in open_:
            client.cut = True
            client.abort()
        self.meter.cuts += len(open_)
        return len(open_)

    def sweep(self) -> None:
        """Cut who has asked and not been answered for long."""
        before = micros() - int(READY_SECONDS * 1e6)
        for client in self.clients:
            if client.state == "asking" and client.asked < before:
                self.meter.faults["no answer in time"] += 1
                client.told = True
                client.abort()

    # --- the end ----------------------------------------------------------------------------

    def settled(self) -> bool:
        """Whether all clients have reached the last known event of their channels.

        And every event that was acknowledged has come to somebody. Asked often: it ends at the
        first client that has not.
        """
        channels = self.decoder.ledger.channels
        if any(channel.unplaced and self._awaited(n) for n, channel in enumerate(channels)):
            return False
        last = [channel.last for channel in channels]
        most = max(last)
        return all(
            client.witness.cursor >= most
            or all(client.witness.cursor >= last[number] for number in client.witness.wanted)
            for client in self.clients
        )

    def _awaited(self, number: int) -> bool:
        """Whether an event that came to nobody is still owed: no gap told all that they miss it."""
        channel = self.decoder.ledger.channels[number]
        wanting = (c.witness for c in self.clients if number in c.witness.wanted)
        first = min((witness.excused(number) for witness in wanting), default=len(channel.keys))
        if not first:
            return True  # somebody is owed all of the channel: no need to look which
        return any(
            channel.acked[seq] and not channel.keys[seq] for seq in range(first, len(channel.keys))
        )

    async def close(self) -> None:
        """End all connections."""
        self.closing = True
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for number, client in enumerate(self.clients):
            client.abort()
            if number % 500 == 499:
                await asyncio.sleep(0)
        end = micros() + int(5e6)
        while self.meter.open and micros() < end:  # noqa: ASYNC110 - once, at the end
            await asyncio.sleep(0.01)


def _word(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    return getattr(error, "strerror", None) or type(error).__name__
