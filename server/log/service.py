"""The event log of one process, put together: who wakes whom, and the order of life and death."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import asyncpg

from server.log.control import derive
from server.log.ephemeral import SEND, Ephemeral, messages
from server.log.history import History
from server.log.listener import Listener, Mode
from server.log.living import Living
from server.log.model import Sink
from server.log.outbox import Outbox
from server.log.peers import Peers
from server.log.reader import Reader
from server.log.retention import Retention
from server.log.stamper import Stamper
from server.settings import Settings
from server.tasks import Tasks

if TYPE_CHECKING:
    from server.db.pool import Connection, Pool


class Log:
    """Feeds `sink` from the database at `dsn` (direct, not through a pooler) and `pool`.

    `process`: what the others know this process by, 8 hexadecimal digits.
    """

    def __init__(
        self,
        pool: Pool,
        dsn: str,
        sink: Sink,
        settings: Settings,
        tasks: Tasks,
        *,
        process: str,
    ) -> None:
        self._dsn = dsn
        self._sink = sink
        self._tasks = tasks
        self.history = History(pool, max(1, settings.pool_size // 2))
        self.retention = Retention(
            pool,
            seconds=settings.retain_seconds,
            size=settings.retain_bytes,
            partition_size=settings.partition_size,
        )
        self.ephemeral = Ephemeral(pool)
        self.reader = Reader(pool, sink)
        self.stamper = Stamper(
            self._connect, self.reader.offer, self.reader.wake, self.retention.extend
        )
        self.outbox = Outbox(pool, self.stamper.wake)
        self.living = Living(process, pool)
        # Without a secret nobody else could know it: there is one process.
        key = derive(settings.secret or secrets.token_urlsafe(32))
        self.peers = Peers(
            self.living, pool, self.ephemeral, key, lambda: self.listener.mode == "polling"
        )
        self.listener = Listener(
            self._connect,
            lambda payload: pool.execute(SEND, payload),
            on_stamped=self.reader.wake,
            on_poke=self.stamper.poke,
            on_look=self._look,
            on_ephemeral=self._announce,
            on_control=self.peers.hear,
            on_epoch=self.reader.wake,
            on_proved=self.living.join,
            on_lost=self.living.lost,
        )

    async def start(self) -> None:
        """Begin at the head; from here on nothing is missed."""
        await self.retention.extend()
        await self.reader.start()
        self._tasks.spawn("reader", self.reader.run)
        self._tasks.spawn("listener", self.listener.run)
        self._tasks.spawn("stamper", self.stamper.run)
        self._tasks.spawn("outbox", self.outbox.run)
        self._tasks.spawn("ephemeral", self.ephemeral.run)
        self._tasks.spawn("living", self.living.run)
        self._tasks.spawn("answers", self.peers.run)
        self._tasks.spawn("retention", self.retention.run)

    async def prove(self) -> Mode:
        """A round trip through listener and stamper; raises what went wrong."""
        mode = await self.listener.prove()
        await self.stamper.prove()
        return mode

    def announce(self, channel: str, body: str) -> None:
        """Announce an ephemeral event here at once, and to the other processes if there are any.

        Here it also arrives while the database is away. Of a channel only the newest waits.

        Raises:
            ValueError: it is larger than a notification (7,000 bytes).
        """
        self._sink.announce(channel, body)
        if not self.living.alone:
            self.ephemeral.elsewhere(self.living.process, channel, body)

    async def _connect(self) -> Connection:
        """A connection of one task's own; its timeouts notice a database that has vanished."""
        return await asyncpg.connect(
            self._dsn,
            timeout=10,
            command_timeout=30,
            server_settings={
                "application_name": "tailrace",
                # A stamp needs a new snapshot for each of its statements.
                "default_transaction_isolation": "read committed",
            },
        )

    def _look(self) -> None:
        self.stamper.wake()
        self.reader.wake()

    def _announce(self, payload: str) -> None:
        for channel, body in messages(payload, self.living.process):
            self._sink.announce(channel, body)
