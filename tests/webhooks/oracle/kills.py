"""Kills in the middle of work, each counted as a hit only when work was demonstrably lost by it.

Of a backend, and of a worker's process: the transaction that it held was undone. Of a server's
process: requests that it had taken were never answered; what it was storing for them may be in.
Of all of Postgres: a transaction that was open then has left nothing.
Kinds and pauses come from the seed; whom they meet is the machine's affair.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tests.oracle.world import World as Postgres
from tests.waiting import until
from tests.webhooks.oracle.model import Ledger
from tests.webhooks.oracle.processes import Process, World

if TYPE_CHECKING:
    from server.db.pool import Connection

KILLS = ("end store", "end handle", "kill store", "kill handle")
"""`end`: of a backend of Postgres; `kill`: of a process, by SIGKILL."""
CRASH = "crash"
"""Postgres ends in immediate mode and recovers; only of a world that has one of its own."""
PATIENCE = 5.0
"""Seconds that a kill waits for its moment."""
# Of a process that is stopped: what is open and idle now can't go on.
_AT_WORK = """
    SELECT pid, xid::text FROM oracle.at_work() WHERE role = $1 AND task = 'handle' AND idle"""
STOPS = 0.002
"""Seconds until a process that was stopped has done its last step."""
_GONE = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)"
_ANY = "SELECT xid::text FROM oracle.at_work() LIMIT 1"
# What never reached the disk is in the future again.
_UNDONE = """
    SELECT CASE WHEN $1::text::xid8 >= pg_snapshot_xmax(pg_current_snapshot()) THEN true
      ELSE pg_xact_status($1::text::xid8) = 'aborted' END"""


class Kills:
    """Does them, one at a time; a killed process is started again where it was."""

    def __init__(self, world: World, ledger: Ledger, rng: random.Random) -> None:
        self.done: Counter[str] = Counter()
        self.hits: Counter[str] = Counter()
        self._world = world
        self._ledger = ledger
        self._rng = rng
        self._down: dict[str, asyncio.Task[None]] = {}

    async def do(self, kind: str) -> None:
        """One kill, a moment from now."""
        await asyncio.sleep(self._rng.uniform(0.02, 0.15))
        connection = await self._world.connect()
        if kind == CRASH:
            hit = await self._crash(connection)
        elif kind == "kill store":
            hit = await self._kill_store()
        elif kind == "kill handle":
            hit = await self._kill_handle(connection)
        else:
            hit = await self._end(kind.removeprefix("end "), connection)
        connection.terminate()
        self.done[kind] += 1
        self.hits[kind] += hit

    async def recovered(self, among: Sequence[Process]) -> None:
        """Wait until whoever was killed among these is back."""
        for process in among:
            if process.name in self._down:
                await self._down.pop(process.name)

    async def _end(self, task: str, connection: Connection) -> bool:
        strike = "SELECT oracle.strike($1, $2::float8 * interval '1 second')"
        return bool(await connection.fetchval(strike, task, PATIENCE))

    async def _kill_store(self) -> bool:
        """A server that has taken requests and not answered them."""
        # One at a time is down: its neighbour goes on.
        await self.recovered(self._world.servers)
        server = self._rng.choice(self._world.servers)
        try:
            await until(lambda: self._ledger.open.get(server.name), PATIENCE)
        except AssertionError:
            busy = False
        else:
            busy = True
        self._kill(server)
        return busy

    async def _kill_handle(self, connection: Connection) -> bool:
        """A process whose worker is in the middle of a transaction: stopped, looked at, killed."""
        workers = [one for one in self._world.processes if one.handlers]
        await self.recovered(workers)
        process = self._rng.choice(workers)
        over = time.monotonic() + PATIENCE
        found: Any = None
        while found is None and time.monotonic() < over:
            await asyncio.sleep(self._rng.uniform(0.001, 0.01))
            process.stop()
            await asyncio.sleep(STOPS)
            found = await connection.fetchrow(_AT_WORK, process.role)
            if found is None:
                process.go_on()
        self._kill(process)
        if found is None:
            return False
        await until(lambda: connection.fetchval(_GONE, found["pid"]))
        return bool(await connection.fetchval(_UNDONE, found["xid"]))

    async def _crash(self, connection: Connection) -> bool:
        """All of Postgres, with a transaction open. A process that starts needs it."""
        await self.recovered(self._world.processes)
        xid: list[str] = []

        async def busy() -> bool:
            xid[:] = [row["xid"] for row in await connection.fetch(_ANY)]
            return bool(xid)

        with suppress(AssertionError):
            await until(busy, PATIENCE)
        assert self._world.postgres is not None
        await Postgres(self._world.postgres, []).crash()
        after = await self._world.connect()
        undone = bool(xid) and await after.fetchval(_UNDONE, xid[0])
        await after.close()
        return undone

    def _kill(self, process: Process) -> None:
        process.kill()
        self._down[process.name] = asyncio.create_task(process.start())
