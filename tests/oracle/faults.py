"""Faults: what can go wrong between a commit and a screen, done on purpose and counted.

A fault is a *hit* when there was something to lose: transactions in flight, events on their way,
clients that were behind. Kinds and moments come from the seed; what they meet is the machine's.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from server.db.faults import LOST
from tests.oracle.clients import Client
from tests.oracle.ledger import Ledger
from tests.oracle.model import Ask
from tests.oracle.servers import Server
from tests.oracle.witness import Witness
from tests.oracle.world import World
from tests.waiting import until

SERVER_FAULTS = ("terminate", "prune", "stop", "overtake", "kill", "crash")
CLIENT_FAULTS = ("reset", "close", "stall", "old", "earliest", "rewind", "odd")
_TERMINATE = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE $1 AND pid <> pg_backend_pid()"""
PRUNE = 2.0
ODD_IDS = ("not-an-id", "ffffffff.7", "{epoch}.999999999", "{epoch}.007")


class Faults:
    """Does them, one at a time to the servers, and quickly to the clients."""

    def __init__(
        self,
        world: World,
        witness: Witness,
        ledger: Ledger,
        clients: Sequence[Client],
        rng: random.Random,
    ) -> None:
        self.done: Counter[str] = Counter()
        self.hits: Counter[str] = Counter()
        self.stuck = 0
        self.over = False
        self._world = world
        self._witness = witness
        self._ledger = ledger
        self._clients = clients
        self._rng = rng
        self._kinds: dict[str, Callable[[], Awaitable[bool]]] = {
            name: getattr(self, name) for name in SERVER_FAULTS
        }

    async def do(self, kind: str) -> None:
        """One fault of the servers, a moment from now, and a moment to recover."""
        await asyncio.sleep(self._rng.uniform(0.02, 0.2))
        hit = await self._kinds[kind]()
        self._count(kind, hit)

    def _count(self, kind: str, hit: bool) -> None:
        self.done[kind] += 1
        self.hits[kind] += hit

    # --- servers and Postgres ---------------------------------------------------------------

    async def terminate(self) -> bool:
        """End all backends of the servers; half the time those of the writers, too."""
        busy = self._ledger.in_flight > 0
        try:
            connection = await self._world.connect("fault")
            count = await connection.fetchval(_TERMINATE, self._rng.choice(("tailrace%", "%")))
            await connection.close()
        except LOST:
            return False
        await self._progress(5)
        return busy and count > 0

    async def crash(self) -> bool:
        """Postgres ends in immediate mode, and recovers."""
        busy = self._ledger.in_flight > 0
        await self._world.crash()
        await self._progress(5)
        return busy

    async def stop(self) -> bool:
        """One server hangs while the others go on."""
        server = self._one()
        server.stop()
        try:
            before = self._witness.seen
            await self._progress(self._rng.randint(5, 100))
            return self._witness.seen > before and self._served(server) > 0
        finally:
            server.go_on()

    async def overtake(self) -> bool:
        """One server hangs in the midst of replays, and the log is pruned past it."""
        server = await self._send_back()
        server.stop()
        try:
            before = self._witness.seen
            await self._progress(self._rng.randint(50, 150))
            floor = await self._prune(self._rng.randint(0, 10))
            return floor > before
        finally:
            server.go_on()

    async def kill(self) -> bool:
        """One server is killed, and started again where it was."""
        server = self._one()
        hit = self._served(server) > 0 and self._ledger.in_flight > 0
        server.kill()
        await self._progress(5)
        await server.start()
        return hit

    async def prune(self) -> bool:
        """Prune up to the head, nearly, while clients are reading what goes."""
        await self._send_back()
        floor = await self._prune(self._rng.choice((0, 3, 20, 200)))
        return any(client.position < floor for client in self._clients)

    async def _send_back(self) -> Server:
        """Let some clients start in the past; the first server that is about to read it."""
        chosen = self._rng.sample(self._clients, min(8, len(self._clients)))
        for client in chosen:
            self._old(client)
        try:
            await until(lambda: any(client.replaying for client in chosen), 1)
        except AssertionError:
            return self._one()
        return next((item.server for item in chosen if item.replaying and item.server), self._one())

    async def _prune(self, distance: int) -> int:
        """The removal waits for who reads, and a stopped server may be in the midst of that."""
        try:
            async with asyncio.timeout(PRUNE):
                await self._witness.collect()
                await self._witness.prune(self._witness.head - distance)
        except LOST:
            pass
        return self._witness.floor

    async def _progress(self, events: int) -> None:
        """Wait until the log has grown: if it doesn't, something holds everybody up."""
        aim = self._witness.seen + events
        try:
            await until(lambda: self._witness.seen >= aim, 4)
        except AssertionError:
            self.stuck += 1

    def _one(self) -> Server:
        return self._rng.choice(self._world.servers)

    def _served(self, server: Server) -> int:
        """How many clients are connected to it."""
        return sum(
            client.server is server and client.wire is not None and not client.wire.closed.is_set()
            for client in self._clients
        )

    # --- clients ----------------------------------------------------------------------------

    async def pester(self, period: float) -> None:
        """One fault of a client after another until `over`, each kind in turn."""
        while not self.over:
            kinds = list(CLIENT_FAULTS)
            self._rng.shuffle(kinds)
            for kind in kinds:
                await asyncio.sleep(self._rng.uniform(0, 2 * period))
                client = self._rng.choice(self._clients)
                self._count(kind, self._pester(kind, client))

    def _pester(self, kind: str, client: Client) -> bool:
        """Whether it met a connection that had something to give."""
        wire = client.wire
        open_ = wire is not None and not wire.closed.is_set() and wire.parser.status == 200
        behind = client.position < self._witness.seen or (wire and wire.parser.partial)
        if kind in ("reset", "close"):
            client.cut(kind, rst=kind == "reset")
        elif kind == "stall":
            if wire is not None:
                wire.stall(self._rng.choice((0.2, 0.5, 1.5, 4.0)))
            return open_
        elif kind == "old":
            behind = self._old(client)
        elif kind == "earliest":
            client.jump(Ask("earliest"))
            behind = self._witness.floor < self._witness.seen
        elif kind == "rewind":
            client.jump(Ask(rewind=self._rng.choice((0, 1, 10, 300))))
        else:
            odd = self._rng.choice(ODD_IDS).replace("{epoch}", self._witness.epoch)
            client.jump(Ask(odd))
        return open_ and bool(behind)

    def _old(self, client: Client) -> bool:
        """Let a client start at an id of the past; whether it is not the present."""
        low = max(0, self._witness.floor - self._rng.choice((0, 0, 50)))
        pos = self._rng.randint(low, max(low, self._witness.seen))
        client.jump(Ask(f"{self._witness.epoch}.{pos}"))
        return pos < self._witness.seen
