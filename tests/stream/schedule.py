"""Random schedules for the fan-out: the real pubsub, ring, replay, lines and carriers over a real
log, in one event loop that a list of steps drives.

Only two things are scripted: what a client's socket takes (pipe.py), and when the log's answers
arrive. A read of the log waits for a step before it is sent to Postgres, and for another before
its answer is handed on; Postgres itself is waited for. So a schedule always runs the same way,
and anything can happen between a question and its answer.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from server.auth.principal import ANONYMOUS
from server.log.history import History, Page, read_on
from server.log.model import EventId, Selection
from server.log.reader import Reader
from server.stream.handlers import StreamWanted
from server.stream.names import Matcher
from server.stream.opening import Opening
from server.stream.outbound import Line, Outbound
from server.stream.pubsub import PubSub
from server.stream.service import Service
from server.stream.streams import Streams
from tests.stream.pipe import Pipe
from tests.stream.reading import Chronicle, Client, Connection, Entry, must

if TYPE_CHECKING:
    from server.db.pool import Pool
    from server.log.model import Event
    from server.log.service import Log
    from server.stream.carrier import Carrier

T = TypeVar("T")

Step = tuple[Any, ...]
"""A method of `World` and its arguments."""

SMALL: dict[str, object] = {
    "server.log.history.WINDOW": 12,
    "server.stream.blocks.SIZE": 8,
    "server.stream.carrier.SLICE": 500,
    "server.stream.outbound.MOST": 1_500,
    "server.stream.outbound.SLICE": 2,
    "server.stream.outbound.SMALL": 600,
    "server.stream.rounds.MOST": 1_500,
    "server.stream.rounds.SMALL": 600,
    "server.stream.rounds.WAITING": 6_000,
    "server.stream.pubsub.SCAN": 6,
    "server.stream.replay.CHUNK": 1_500,
    "server.stream.replay.CROWD": 2,
    "server.stream.replay.HOLD": 3_000,
    "server.stream.replay.LONG": 3,
    "server.stream.replay.monotonic": itertools.count().__next__,  # so that is three looks
    "server.stream.subscriber.FIRST_PAGE": 3,
}
"""Bounds made so small that a few events reach them."""

PATIENCE = 5.0
"""Seconds within which everything has to come to rest at the end."""

_CLEAR = """
    DELETE FROM tailrace.event; DELETE FROM tailrace.outbox;
    UPDATE tailrace.head SET pos = 0, floor = 0;
    DELETE FROM tailrace.epoch_history h WHERE h.epoch <> (SELECT epoch FROM tailrace.head);
    UPDATE tailrace.epoch_history SET fork = 0"""
_PUBLISH = """
    SELECT tailrace.publish(d->>'channel', 't', d->'data', d->>'key')
    FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY AS drafts (d, n) ORDER BY n"""


@dataclass
class Gate:
    """Where a read waits. `asks`: its question does, not its answer."""

    opened: asyncio.Future[None]
    answered: asyncio.Event
    asks: bool


class Gated(History):
    """The log, whose questions and answers travel one step at a time."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool, concurrent=8)
        self._gates: list[Gate] = []

    async def page(self, selection: Selection, after: int, upto: int, limit: int = 0) -> Page:
        return await self._travel(lambda: History.page(self, selection, after, upto, limit))

    async def stretch(self, after: int, upto: int) -> Page | None:
        return await self._travel(lambda: History.stretch(self, after, upto))

    async def _travel(self, read: Callable[[], Awaitable[T]]) -> T:
        answered = asyncio.Event()
        try:
            await self._wait(answered, asks=True)
            found = await read()
            answered.set()
            await self._wait(answered, asks=False)
            return found
        finally:
            answered.set()

    async def _wait(self, answered: asyncio.Event, *, asks: bool) -> None:
        gate = Gate(asyncio.get_running_loop().create_future(), answered, asks)
        self._gates.append(gate)
        await gate.opened

    async def step(self) -> bool:
        """Let the question or answer that has waited the longest go on; whether there is one."""
        self._gates = [gate for gate in self._gates if not gate.opened.done()]
        if not self._gates:
            return False
        gate = self._gates.pop(0)
        gate.opened.set_result(None)
        if gate.asks:
            await gate.answered.wait()
        return True


class Sources:
    """Of the log's parts those that streams use."""

    def __init__(self, history: History, reader: Reader) -> None:
        self.history = history
        self.reader = reader


class World:
    """One process's fan-out, and its clients."""

    def __init__(self, pool: Pool, ring_bytes: int) -> None:
        self._pool = pool
        self._history = Gated(pool)
        self._pubsub = PubSub(ring_bytes)
        self._reader = Reader(pool, self._pubsub)
        streams = Streams(self._pubsub, heartbeat=1e9, deadline=1e9)
        log = cast("Log", Sources(self._history, self._reader))
        self._service = Service(log, self._pubsub, streams)
        self._outbound = Outbound(self._pubsub, self._service.replay, streams.remove)
        self._coming: list[Event] = []
        self._number = 0
        self.clients: list[Client] = []
        self._lines: dict[Client, Line] = {}

    async def begin(self) -> None:
        """Empty the log."""
        await self._pool.execute(_CLEAR)
        await self._reader.start()
        self._chronicle = Chronicle(self._reader.epoch)

    async def play(self, steps: Sequence[Step]) -> None:
        """Go through a schedule, and let everything come to rest.

        Raises:
            Violation: a client was given what it may not be given.
        """
        for name, *arguments in steps:
            await getattr(self, name)(*arguments)
            self._look()
        await self._rest()

    async def end(self) -> None:
        """Cut every client off, and cancel what is left."""
        for client in self.clients:
            if client.connection is not None:
                client.connection.pipe.abort()
        await self.turn(2)
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # The steps

    async def come(
        self, names: list[str], latest: bool, back: int | None, room: int | None, chunked: bool
    ) -> None:
        """A new client, `back` from the head or at the present."""
        client = Client(names, self._chronicle, latest=latest)
        self.clients.append(client)
        if back is not None:
            log = self._chronicle
            client.start(EventId(log.epoch, max(log.floor, log.head - back)))
        await self._connect(client, room, chunked)

    async def again(self, who: int, room: int | None, chunked: bool) -> None:
        """A client that was cut comes back with its last id."""
        if (client := self._of(who)) and client.connection is None:
            await self._connect(client, room, chunked)

    async def cut(self, who: int) -> None:
        """A client's connection breaks; what had not arrived is lost."""
        if (client := self._of(who)) and client.connection is not None:
            client.connection.pipe.abort()
            client.connection = None
            del self._lines[client]

    async def take(self, who: int, room: int | None) -> None:
        """A client takes so many bytes more, or all from now on."""
        if (client := self._of(who)) and client.connection is not None:
            client.connection.pipe.give(room)

    async def stall(self, who: int) -> None:
        """A client takes nothing from now on."""
        if (client := self._of(who)) and client.connection is not None:
            client.connection.pipe.stall()

    async def publish(self, drafts: Sequence[tuple[str, str | None, int]]) -> None:
        """Commit and stamp; this process does not know it yet."""
        head = self._chronicle.head
        rows = []
        for channel, key, size in drafts:
            self._number += 1
            data = {"n": self._number, "fill": "x" * size}
            rows.append({"channel": channel, "key": key, "data": data})
            self._chronicle.add(Entry(channel, key, self._number))
        await self._pool.execute(_PUBLISH, json.dumps(rows))
        await self._pool.execute("SELECT tailrace.stamp(1000)")
        self._coming += (await read_on(self._pool, head, 1_000)).events

    async def deliver(self, count: int) -> None:
        """The stamper's own result reaches the pubsub, without a turn of the loop."""
        now, self._coming = self._coming[:count], self._coming[count:]
        self._reader.offer(self._chronicle.epoch, now)

    async def look(self) -> None:
        """The process's reader looks into the log."""
        await self._reader._catch_up()

    async def turn(self, count: int) -> None:
        """So many turns of the loop."""
        for _ in range(count):
            await asyncio.sleep(0)

    async def read(self, count: int) -> None:
        """So many questions to the log, or answers, arrive."""
        for _ in range(count):
            await self._history.step()
            await asyncio.sleep(0)

    async def prune(self, back: int) -> None:
        """The log's past goes, floor first, up to `back` from the head."""
        log = self._chronicle
        log.floor = max(log.floor, log.head - back)
        await self._pool.execute("SELECT tailrace.prune($1)", log.floor)
        await self._pool.execute("DELETE FROM tailrace.event WHERE pos <= $1", log.floor)

    async def fork(self, lost: int, seen: bool) -> None:
        """The database fails over, and has lost its newest events; `seen`: that is noticed."""
        log = self._chronicle
        pos = max(log.floor, log.head - lost)
        await self._pool.execute("DELETE FROM tailrace.event WHERE pos > $1", pos)
        await self._pool.execute("UPDATE tailrace.head SET pos = $1", pos)
        log.fork(await self._pool.fetchval("SELECT tailrace.epoch_new()"), pos)
        self._coming.clear()
        if seen:
            await self.look()

    async def ground(self) -> None:
        """The reader begins anew where it was, without a turn of the loop."""
        self._pubsub.rebase(self._pubsub.epoch, self._pubsub.position, None)

    async def beat(self) -> None:
        """A heartbeat for all."""
        for line in self._lines.values():
            self._pubsub.heartbeat(line)

    # What they are made of

    def _of(self, who: int) -> Client | None:
        return self.clients[who % len(self.clients)] if self.clients else None

    async def _connect(self, client: Client, room: int | None, chunked: bool) -> None:
        mode = "latest" if client.latest else "all"
        wanted = StreamWanted.model_validate({"channel": client.names, "mode": mode})
        channels = Matcher(client.names)
        if self._pubsub.epoch != self._chronicle.epoch:
            await self.look()  # until then there is no start, see Service
        start = await self._service.start(wanted, channels, client.at and str(client.at))
        opening = Opening(self._service, ANONYMOUS, "", wanted, channels, start, 2_000)
        pipe = Pipe(room)
        protocol, first = opening._begin(self._outbound, pipe, chunked=chunked)
        pipe.begin(protocol, b"%x\r\n%b\r\n" % (len(first), first) if chunked else first)
        self._lines[client] = cast("Carrier", protocol).line
        client.connection = Connection(pipe, chunked, client.at)

    def _look(self) -> None:
        """Read what every client has, and see that the engine keeps to its bounds."""
        for client in self.clients:
            client.read()
        for client, line in self._lines.items():
            must(client.connection and not client.connection.pipe.lost, "cut by the server")
            must(not (line.live and line.carrier.paused), "live, though its socket is full")

    def _settled(self, line: Line) -> bool:
        """Whether it is live, and nothing is on its way to it."""
        coming = line.single is not None and self._pubsub.waits(line.single)
        return line.live and line.idle and not coming

    async def _rest(self) -> None:
        for client in self.clients:
            if client.connection is None:
                await self._connect(client, None, True)
            else:
                client.connection.pipe.give(None)
        if self._pubsub.id != EventId(self._chronicle.epoch, self._chronicle.head):
            await self.look()
        deadline = time.monotonic() + PATIENCE
        while not all(map(self._settled, self._lines.values())):
            must(time.monotonic() < deadline, "somebody never reaches the present")
            if not await self._history.step():
                await asyncio.sleep(0.001)  # who met two epochs at once waits a moment
        await self.beat()
        await self.turn(10 + len(self.clients))
        self._look()
        for client in self.clients:
            client.settled()
