"""The process's one LISTEN connection: wake-ups, ephemeral events and control messages.

It stands outside the pool, listens first and catches up then, and proves that notifications
really arrive: a pooler in transaction mode accepts LISTEN and delivers nothing. While they don't,
the log is polled. The first proof is sent over another connection: what a session tells itself
comes back within its own statement, through such a pooler as well.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal

from server.db.faults import LOST
from server.log.seldom import Seldom

if TYPE_CHECKING:
    from server.db.pool import Connection
    from server.log.stamper import Connect

log = logging.getLogger(__name__)

CHANNEL = "tailrace"
PROBE_EVERY = 10.0
PROBE_TIMEOUT = 3.0
POLL = 0.1

Mode = Literal["notify", "polling"]


async def _content(_connection: Connection) -> bool:
    return True


class Listener:
    """Turns notifications into calls.

    `connect()`: a connection to listen on. `notify(payload)`: tells all, over another connection.
    `on_stamped(hi)`: the log goes up to `hi` (`None`: look). `on_poke()`: an outbox has rows.
    `on_ephemeral(json)`, `on_control(json)`: a message's text. `on_epoch()`: a new one has begun.
    `on_proved(connection)`: notifications arrive on this one; called again until it says True.
    `on_lost()`: a connection has ended.
    """

    def __init__(
        self,
        connect: Connect,
        notify: Callable[[str], Awaitable[object]],
        *,
        on_stamped: Callable[[int | None], None],
        on_poke: Callable[[], None],
        on_look: Callable[[], None],
        on_ephemeral: Callable[[str], None],
        on_control: Callable[[str], None],
        on_epoch: Callable[[], None],
        on_proved: Callable[[Connection], Awaitable[bool]] = _content,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._connect = connect
        self._notify = notify
        self._on_stamped = on_stamped
        self._on_poke = on_poke
        self._on_look = on_look
        self._on_ephemeral = on_ephemeral
        self._on_control = on_control
        self._on_epoch = on_epoch
        self._on_proved = on_proved
        self._on_lost = on_lost
        self._probes: dict[str, asyncio.Future[None]] = {}
        self._connection: Connection | None = None
        self._lost = asyncio.Event()
        # A probe of `run` and one of `prove` may meet; a connection takes one statement at a time.
        self._speaking = asyncio.Lock()
        self.mode: Mode = "polling"
        self.reconnects = 0
        self.bad_payloads = 0
        self._bad = Seldom()

    async def prove(self) -> Mode:
        """How events reach this process now, proved: by a round trip, else by a poll's query."""
        connection = self._connection
        if connection is None:
            msg = "no connection to listen on"
            raise ConnectionError(msg)
        if self.mode == "notify":
            await self._probe(connection)
        else:
            async with self._speaking:
                await connection.fetchval("SELECT 1")
        return self.mode

    async def run(self) -> None:
        """Listen until cancelled; a connection that is lost, or deaf, is made anew."""
        delay = 0.05
        while True:
            try:
                connection = await self._connect()
            except LOST as error:
                log.warning("the listener can't connect: %r", error)
            else:
                try:
                    await self._listen(connection)
                except LOST as error:
                    log.warning("the listener lost its connection: %r", error)
                finally:
                    if self.mode == "notify":  # it had worked
                        delay = 0.05
                    self._connection = None
                    self.mode = "polling"
                    self._on_lost()
                    connection.terminate()
            self.reconnects += 1
            await asyncio.sleep(delay)
            delay = min(delay * 2, 2.0)

    async def _listen(self, connection: Connection) -> None:
        self._lost.clear()
        connection.add_termination_listener(lambda _: self._lost.set())
        await connection.add_listener(CHANNEL, self._receive)
        self._connection = connection
        proved = False
        self._on_look()  # after LISTEN: what was missed before it is in the log by now
        while not self._lost.is_set():
            try:
                await self._probe(connection)
            except LOST as error:
                if self.mode == "notify":
                    if not isinstance(error, TimeoutError):
                        raise
                    log.warning("notifications stopped arriving: connecting anew")
                    return
                log.warning(
                    "notifications do not arrive here (a pooler?): polling the log (%r)", error
                )
            else:
                self.mode = "notify"
                if not proved:
                    async with self._speaking:
                        proved = await self._on_proved(connection)
            await self._wait()
        msg = "the connection was closed"
        raise ConnectionError(msg)

    async def _wait(self) -> None:
        """Until the next probe is due or the connection is lost, polling if need be."""
        loop = asyncio.get_running_loop()
        end = loop.time() + PROBE_EVERY
        while (left := end - loop.time()) > 0 and not self._lost.is_set():
            step = left if self.mode == "notify" else min(POLL, left)
            try:
                async with asyncio.timeout(step):
                    await self._lost.wait()
            except TimeoutError:
                if self.mode == "polling":
                    self._on_look()

    async def _probe(self, connection: Connection) -> None:
        """Send a notification to ourselves and wait until it is back.

        Once proved, a connection is a session of our own: it can ask itself, even if the pool is
        busy.
        """
        token = secrets.token_hex(6)
        back: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._probes[token] = back
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                if self.mode == "notify":
                    async with self._speaking:
                        await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, "p" + token)
                else:
                    await self._notify("p" + token)
                await back
        finally:
            del self._probes[token]

    def _receive(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        """Sort a payload by its first character. A bad one is counted and never kills."""
        text = str(payload)
        try:
            match text[:1]:
                case "":
                    self._on_poke()
                case "p":
                    back = self._probes.get(text[1:])
                    if back is not None and not back.done():
                        back.set_result(None)
                case "e":
                    self._on_ephemeral(text[1:])
                case "c":
                    self._on_control(text[1:])
                case "n":
                    self._on_epoch()
                case _:
                    self._on_stamped(int(text.partition("-")[2]))
        except Exception:
            self.bad_payloads += 1
            if count := self._bad.count():
                log.exception("%d notifications could not be used: %.100s", count, text)
