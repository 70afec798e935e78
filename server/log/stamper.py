"""The stamper: gives committed events their positions, in batches that size themselves.

Any number of processes run one; the head's row lock keeps them apart. In quiet times each foreign
commit wakes it by a notification. When such commits overlap, it promises to poll for a while (the
lease in the database), and writers stop notifying: NOTIFY would make their commits wait for each
other's WAL flush. It may only fall asleep when `tailrace.may_sleep()` says so, see there.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import asyncpg

from server.db.faults import LOST
from server.log.model import Event

if TYPE_CHECKING:
    from server.db.pool import Connection

    Connect = Callable[[], Awaitable[Connection]]

log = logging.getLogger(__name__)

BATCH = 1_000
IDLE = 1.0
"""Seconds between looks at the outbox when nothing wakes the stamper."""
LEASE_MS = 1_000
"""How long a promise to poll holds. Those who have notified before it queue for the one lock that
NOTIFY takes, and stamps, which notify too, stand in that queue: the promise must outlast it, or the
next crowd notifies and the queue never ends."""
LULL = 0.4
"""Seconds in which a busy stamper must have moved something to stay busy."""
POLL = 0.005
"""Seconds between stamps under the lease: the longer, the larger and so the cheaper."""
SLOW_POLL = 0.02
"""The same when only a long transaction that began under the lease is waited for."""
BUSY_POKES = 8
BUSY_WINDOW = 0.1
BUSY_WRITERS = 2
"""So many foreign commits within `BUSY_WINDOW` seconds, and so many writers in flight at the same
moment, make it busy."""

_STAMP = "SELECT * FROM tailrace.stamp($1, $2)"
_PROMISE = "SELECT tailrace.promise($1)"
_EPOCH = "SELECT tailrace.epoch_check()"
_MAY_SLEEP = "SELECT tailrace.may_sleep()"
_WRITERS = "SELECT tailrace.writers()"


class Stamper:
    """Runs on a connection of its own.

    What it stamped it hands to `deliver(epoch, events)`; of much it only tells `read(upto)`.
    """

    def __init__(
        self,
        connect: Connect,
        deliver: Callable[[str, Sequence[Event]], None],
        read: Callable[[int | None], None],
        on_missing_partition: Callable[[], Awaitable[Any]],
    ) -> None:
        self._connect = connect
        self._deliver = deliver
        self._read = read
        self._on_missing_partition = on_missing_partition
        self._wake = asyncio.Event()
        self._pokes: deque[float] = deque(maxlen=BUSY_POKES)
        self._proofs: list[asyncio.Future[None]] = []
        self.stamped = 0
        self.batches = 0
        self.busy_spells = 0
        self.promising = False

    def wake(self) -> None:
        """An event of this process is committed."""
        self._wake.set()

    def poke(self) -> None:
        """A foreign transaction committed events and found no stamper awake."""
        self._pokes.append(asyncio.get_running_loop().time())
        self._wake.set()

    async def prove(self) -> None:
        """Return once a stamp that began after this call has succeeded."""
        proof: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._proofs.append(proof)
        self._wake.set()
        await proof

    async def run(self) -> None:
        """Stamp until cancelled; a lost connection is made anew."""
        delay = 0.05
        while True:
            try:
                connection = await self._connect()
            except LOST as error:
                log.warning("the stamper can't connect: %r", error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 2.0)
                continue
            try:
                await connection.execute(_EPOCH)
                delay = 0.05
                await self._work(connection)
            except LOST as error:
                log.warning("the stamper lost its connection: %r", error)
            finally:
                connection.terminate()

    async def _work(self, connection: Connection) -> None:
        self._wake.set()  # what was committed while nobody listened
        while True:
            if await self._crowded(connection):
                await self._busy(connection)
            await self._drain(connection)
            try:
                async with asyncio.timeout(IDLE):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    async def _drain(self, connection: Connection) -> None:
        """Stamp until the outbox shows nothing more."""
        proofs, self._proofs = self._proofs, []
        try:
            while await self._stamp(connection, 0) >= BATCH:
                pass
        except BaseException:
            self._proofs += proofs
            raise
        for proof in proofs:
            if not proof.done():
                proof.set_result(None)

    async def _busy(self, connection: Connection) -> None:
        """Poll under a lease that says so, until the writers have become few and may be left."""
        while True:
            self.promising = True
            try:
                await self._poll_under_lease(connection)
            finally:
                self.promising = False
            pause = POLL
            while not await connection.fetchval(_MAY_SLEEP):
                await self._drain(connection)
                if await self._crowded(connection):
                    break  # it was a lull: they come again
                await asyncio.sleep(pause)
                pause = min(pause * 1.1, SLOW_POLL)
            else:
                # Only now: whoever relied on the lease had committed before that look.
                self._wake.set()
                return

    async def _poll_under_lease(self, connection: Connection) -> None:
        self.busy_spells += 1
        # Alone and first: it takes no lock that the crowd holds.
        await connection.execute(_PROMISE, LEASE_MS)
        loop = asyncio.get_running_loop()
        rows, since = 0, loop.time()
        while True:
            moved = await self._stamp(connection, LEASE_MS)
            rows += moved
            if loop.time() - since > LULL:
                if rows < BUSY_POKES:
                    break
                rows, since = 0, loop.time()
            if moved < BATCH:
                await asyncio.sleep(POLL)
            if self._proofs:
                await self._drain(connection)

    async def _stamp(self, connection: Connection, lease: int) -> int:
        try:
            rows = await connection.fetch(_STAMP, BATCH, lease)
        except asyncpg.CheckViolationError:
            await self._on_missing_partition()
            return BATCH
        if not rows:
            return 0
        self.batches += 1
        if rows[0]["body"] is None:  # much was stamped: it is to be read
            self._read(rows[-1]["pos"])
            return BATCH
        self.stamped += len(rows)
        self._deliver(rows[0]["epoch"], [Event(*row[1:]) for row in rows])
        return len(rows)

    async def _crowded(self, connection: Connection) -> bool:
        """Whether foreign transactions come often, and several at a time.

        One writer in a loop pokes as often as sixty that wait for each other: only the number of
        transactions that are open at once tells them apart, and only the crowd pays for NOTIFY.
        """
        now = asyncio.get_running_loop().time()
        while self._pokes and now - self._pokes[0] > BUSY_WINDOW:
            self._pokes.popleft()
        if len(self._pokes) < BUSY_POKES:
            return False
        self._pokes.clear()
        writers: int = await connection.fetchval(_WRITERS)
        return writers >= BUSY_WRITERS
