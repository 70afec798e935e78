"""Readers that use the Python client: what its users get, held against the law of the crowd.

Each reads all channels of the run by a pattern, and is cut where the scenario has storms. What it
receives is in no figure but its own: the crowd's protocol is what measures.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

import aiohttp

from scripts.load.crowd import RefusalError
from scripts.load.judge import Witness
from scripts.load.ledger import Ledger
from scripts.load.options import Options, Target
from scripts.load.wire import Decoder, Event, Mark, Moved, Stray, WireError
from server import client


class Reader:
    """One of them. `deliveries`, `cuts`: how many there were."""

    def __init__(self, number: int, options: Options, target: Target, decoder: Decoder) -> None:
        self.witness = Witness(number, range(options.channels))
        self.deliveries = 0
        self.cuts = 0
        self._options = options
        self._target = target
        self._decoder = decoder
        self._sock: socket.socket | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stack = contextlib.AsyncExitStack()

    @property
    def _ledger(self) -> Ledger:
        return self._decoder.ledger

    async def open(self) -> None:
        """Begin to read.

        Raises:
            RefusalError: the server does not let it.
        """
        target = self._target
        connector = aiohttp.TCPConnector(ssl=target.tls or True, socket_factory=self._socket)
        session = await self._stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        stream = client.connect(
            f"{'https' if target.tls else 'http'}://{target.host}{target.prefix}",
            self._ledger.pattern,
            session=session,
            on_gap=self._gap,
        )
        try:
            await self._stack.enter_async_context(stream)
        except client.TailraceError as error:
            raise RefusalError(f"a reader by server/client.py: {error}") from error
        self.witness.ready(self._key(stream.position), self._ledger)
        self._tasks.append(asyncio.create_task(self._follow(stream), name="library"))
        if self._options.share:
            self._tasks.append(asyncio.create_task(self._storms(), name="library storms"))

    def settled(self) -> bool:
        """Whether it has the last known event, or will have no more."""
        last = max(channel.last for channel in self._ledger.channels)
        return self.witness.cursor >= last or self._tasks[0].done()

    async def close(self) -> None:
        """End it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()

    async def _follow(self, stream: client.Stream) -> None:
        try:
            async for event in stream:
                self._take(event)
        except (client.TailraceError, WireError) as error:
            self.witness.fault("malformed", f"server/client.py: {error}")

    def _take(self, event: client.Event) -> None:
        # As it came: what an event is, only one place knows.
        id_ = "" if event.id is None else f"id: {event.id}\n"
        block = self._decoder.block(f"{id_}data: {event.raw}".encode())
        if isinstance(block, Event):
            self.deliveries += 1
            self.witness.event(block)
        elif isinstance(block, Moved):
            self.witness.moved(block)
        elif isinstance(block, Stray):
            self.witness.stray(block)
        elif isinstance(block, Mark):
            self.witness.mark(block.key)

    def _gap(self, gap: client.Gap) -> None:
        self.witness.gap(self._key(gap.resumed) or 0, self._ledger)

    def _key(self, id_: str | None) -> int | None:
        return None if id_ is None else self._ledger.epochs.key(id_.encode())

    def _socket(self, info: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
        self._sock = socket.socket(*info[:3])
        self._sock.setblocking(False)
        return self._sock

    async def _storms(self) -> None:
        while True:
            await asyncio.sleep(self._options.interval)
            if self._sock is not None and self._sock.fileno() >= 0:
                with contextlib.suppress(OSError):
                    self._sock.shutdown(socket.SHUT_RDWR)
                    self.cuts += 1
