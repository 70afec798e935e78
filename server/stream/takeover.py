"""Takes a connection over from aiohttp once its stream's headers are out.

A parked handler holds a request, a parser, a writer and two tasks: 11 KB and more for each idle
client. A stream needs none of them. So a response of this kind does not end when aiohttp asks it
to: it gives the transport a protocol of a few slots, and tells aiohttp's protocol that it has lost
its connection. That touches two attributes of aiohttp's `RequestHandler` (`transport`,
`_task_handler`); `works()` proves at the start that the installed aiohttp bears it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import HttpVersion11, web

from server.stream import wire

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

log = logging.getLogger(__name__)

SEND_BUFFER = 64 * 1024
"""SO_SNDBUF: a stalled client would otherwise take megabytes of kernel memory."""
PROOF_SECONDS = 3.0

Begin = Callable[[asyncio.Transport, bool], tuple[asyncio.Protocol, bytes]]
"""Given the transport and whether its bytes are chunked: who takes it over, and its first bytes
(not framed), which leave with the headers."""


class Response(web.StreamResponse):
    """Headers as ever, with middlewares, cookies and CORS; `begin` takes what comes after them."""

    # They leave together with the first bytes, in one write.
    _send_headers_immediately = False

    def __init__(self, begin: Begin) -> None:
        super().__init__(headers=wire.HEADERS)
        self._begin: Begin | None = begin

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Set the socket up, and the headers.

        Raises:
            ConnectionResetError: the client has gone already.
        """
        if self.prepared:
            return self._payload_writer
        transport = request.transport
        if transport is None or transport.is_closing():
            msg = "the client has gone"
            raise ConnectionResetError(msg)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in {socket.AF_INET, socket.AF_INET6}:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.force_close()  # nobody listens for a second request
        if request.version == HttpVersion11:
            self.enable_chunked_encoding()
        return await super().prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        """Where aiohttp would end the answer, the connection changes hands.

        Raises:
            ConnectionResetError: the client has gone.
        """
        del data
        begin, self._begin = self._begin, None
        if begin is None:
            return
        request, writer = self._req, self._payload_writer
        if request is None or writer is None:
            msg = "a response that was not prepared"
            raise RuntimeError(msg)
        protocol = request.protocol
        transport = protocol.transport
        if transport is None or transport.is_closing():
            msg = "the client has gone"
            raise ConnectionResetError(msg)
        successor, first = begin(transport, bool(getattr(writer, "chunked", False)))
        try:
            await writer.write(first, drain=False)  # type: ignore[call-arg]
            self._eof_sent = True
            # aiohttp closes a connection that it believes its own, and cancels the handler's task.
            protocol.transport = None
            protocol._task_handler = None
            protocol.connection_lost(None)
            transport.set_protocol(successor)
            # It may have been paused for a body that nobody has read.
            transport.resume_reading()
            if transport.get_write_buffer_size():
                successor.pause_writing()  # it was told to aiohttp's
        except BaseException:
            successor.connection_lost(None)
            transport.abort()
            raise
        self._req = self._payload_writer = None


class _Echo(asyncio.Protocol):
    """The self-check's end of a taken connection."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.lost = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"4\r\n" + data + b"\r\n0\r\n\r\n")
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.lost.set()


async def works() -> bool:
    """Whether a connection can be taken over here: tried on a server of its own."""
    try:
        async with asyncio.timeout(PROOF_SECONDS):
            await _prove()
    except Exception as error:
        log.warning("connections can't be taken over from this aiohttp: %r", error)
        return False
    return True


def _must(condition: bool, what: str) -> None:
    if not condition:
        raise RuntimeError(what)


async def _prove() -> None:
    taken: list[_Echo] = []

    def begin(transport: asyncio.Transport, chunked: bool) -> tuple[asyncio.Protocol, bytes]:
        _must(chunked, "the answer is not chunked")
        taken.append(_Echo(transport))
        return taken[0], b"first"

    async def handler(_: web.BaseRequest) -> web.StreamResponse:
        return Response(begin)

    server = web.Server(handler, access_log=None, handler_cancellation=True)
    runner = web.ServerRunner(server)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
        try:
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            _must(head.startswith(b"HTTP/1.1 200"), "no headers")
            _must(await reader.readexactly(10) == b"5\r\nfirst\r\n", "no first bytes")
            _must(not server.connections, "aiohttp still knows the connection")
            writer.write(b"here")
            _must(await reader.read() == b"4\r\nhere\r\n0\r\n\r\n", "no further bytes")
        finally:
            writer.close()
        await taken[0].lost.wait()
    finally:
        await runner.cleanup()
