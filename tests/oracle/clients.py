"""Logical subscribers on raw sockets: they come back with their last id, whatever happens.

Each keeps every block that it was told, in the order of arrival, and judges nothing.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Sequence
from urllib.parse import urlencode

from tests.oracle.model import Ask, Block, History, Session
from tests.oracle.servers import API_KEY, Server
from tests.oracle.sse import Parser, WireError
from tests.oracle.witness import Witness

CONNECT = 2.0
RECEIVE_BUFFER = 16 * 1024
_RST = struct.pack("ii", 1, 0)


class Wire(asyncio.Protocol):
    """One connection; what it hears goes to its client."""

    def __init__(self, client: Client, session: Session, request: bytes) -> None:
        self.session = session
        self.closed = asyncio.Event()
        self.heard = asyncio.get_running_loop().time()
        self.stalled = False
        self.parser = Parser()
        self._client = client
        self._request = request
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self.closed.is_set():
            return
        self.heard = asyncio.get_running_loop().time()
        try:
            for block in self.parser.feed(data):
                self._client.hear(self.session, block)
        except WireError as error:
            self._client.history.malformed.append(str(error))
            self.cut("malformed", rst=True)
        if self.parser.status not in (None, 200):
            # An EventSource would never come back.
            self._client.history.malformed.append(f"status {self.parser.status}")
            self.cut("status", rst=True)
        elif self.parser.ended:
            self.cut("ended", rst=False)

    def connection_lost(self, exc: Exception | None) -> None:
        self.session.ended = self.session.ended or ("lost" if exc else "ended")
        self.closed.set()

    def cut(self, why: str, *, rst: bool) -> None:
        """End it from this side; what is still in the socket is thrown away."""
        if self._transport is None or self.closed.is_set():
            return
        self.session.ended = why
        self.closed.set()
        if rst:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
        self._transport.abort()

    def stall(self, seconds: float) -> None:
        """Read nothing for a while."""
        if self._transport is not None and not self.stalled and not self.closed.is_set():
            self.stalled = True
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(seconds, self.read_on)

    def read_on(self) -> None:
        """End a stall."""
        if self._transport is not None and self.stalled:
            self.stalled = False
            self.heard = asyncio.get_running_loop().time()
            if not self.closed.is_set():
                self._transport.resume_reading()


class Client:
    """One logical subscriber.

    `patience`: so long it bears a server that says nothing at all (not even a heartbeat).
    """

    def __init__(
        self, name: str, channels: Sequence[str], witness: Witness, rng: random.Random
    ) -> None:
        self.history = History(name, tuple(channels))
        self.position = 0
        self.last: str | None = None
        self.wire: Wire | None = None
        self.server: Server | None = None
        self.ask = Ask()
        """What a client without an id asks for; with `jump`, what it asks for next."""
        self.over = False
        self.patience = rng.uniform(1.0, 4.0)
        self._witness = witness
        self._rng = rng
        self._jump = False

    def hear(self, session: Session, block: Block) -> None:
        """Keep a block; the same text of an event is kept once for all clients."""
        if block.id is not None:
            self.last = block.id
            self.position = int(block.id[9:])
            self._witness.seen = max(self._witness.seen, self.position)
            if block.data is not None and not block.event:
                text = self._witness.texts.setdefault(self.position, block.data)
                if text == block.data:
                    block = Block(block.id, "", text)
        session.blocks.append(block)

    def jump(self, ask: Ask) -> None:
        """Forget where it is, and start anew elsewhere."""
        self.ask = ask
        self._jump = True
        self.cut("jump", rst=True)

    @property
    def replaying(self) -> bool:
        """Whether it has begun anew, and not arrived."""
        wire = self.wire
        begun = wire is not None and not wire.closed.is_set() and bool(wire.session.blocks)
        return begun and not self._jump and self.position < self._witness.seen

    def cut(self, why: str, *, rst: bool) -> None:
        """End its connection, if it has one; it comes back."""
        if self.wire is not None:
            self.wire.cut(why, rst=rst)

    async def run(self, servers: Sequence[Server]) -> None:
        """Stay subscribed until `over`."""
        while not self.over:
            await asyncio.sleep(self._rng.uniform(0.005, 0.05))
            self.server = self._rng.choice([item for item in servers if item.up] or servers)
            try:
                await self._connect(self.server.port)
            except (OSError, TimeoutError):
                continue
            await self._listen()
        self.cut("over", rst=False)

    def finish(self) -> None:
        """Let `run` return."""
        self.over = True
        self.cut("over", rst=False)

    async def _connect(self, port: int) -> None:
        session = Session(self._next_ask(), continues=self.last is not None and not self._jump)
        sock = socket.socket()
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(CONNECT):
                await loop.sock_connect(sock, ("127.0.0.1", port))
                wire = Wire(self, session, self._request(session.ask))
                await loop.create_connection(lambda: wire, sock=sock)
        except BaseException:
            sock.close()
            raise
        self._jump = False
        self.wire = wire
        self.history.sessions.append(session)

    def _next_ask(self) -> Ask:
        if self._jump:
            self.last = None
        ask = self.ask if self.last is None else Ask(self.last)
        return ask._replace(head=self._witness.seen, floor=self._witness.floor)

    async def _listen(self) -> None:
        """Until the connection ends, or its server has been silent for too long."""
        wire, loop = self.wire, asyncio.get_running_loop()
        assert wire is not None
        while not (wire.closed.is_set() or self.over):
            try:
                async with asyncio.timeout(self.patience / 2):
                    await wire.closed.wait()
            except TimeoutError:
                if not wire.stalled and loop.time() - wire.heard > self.patience:
                    wire.cut("silence", rst=True)

    def _request(self, ask: Ask) -> bytes:
        query = [("channel", name) for name in self.history.channels]
        headers = ["Host: oracle", "Accept: text/event-stream"]
        if ask.rewind is not None:
            query.append(("rewind", str(ask.rewind)))
        if ask.last == "earliest":
            query.append(("after", "earliest"))
        elif ask.last is not None:
            headers.append(f"Last-Event-ID: {ask.last}")
        if not all(name.startswith("public.") for name in self.history.channels):
            headers.append(f"Authorization: Bearer {API_KEY}")
        lines = "\r\n".join([f"GET /api/stream?{urlencode(query)} HTTP/1.1", *headers])
        return f"{lines}\r\n\r\n".encode()
