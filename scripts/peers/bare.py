"""A bare take-over: the connection changes hands, one `ready` block is written, and nothing else.

    python bare.py PORT

What Tailrace's streams cost beyond it is their own doing: identity, policy, limits, registration.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from pathlib import Path

import uvloop
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parents[2]))

from server.stream import wire
from server.stream.takeover import Response

READY = (
    wire.retry(2300) + b'id: 0badcafe.0\nevent: ready\ndata: {"stream":"0123456789abcdef",'
    b'"channels":["public.bench"],"heartbeat":15.0}\n\nid: 0badcafe.0\n\n'
)


class Held(asyncio.Protocol):
    """A connection that is kept."""

    __slots__ = ("transport",)

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """A second request: the answer said that it closes."""


def begin(transport: asyncio.Transport, chunked: bool) -> tuple[asyncio.Protocol, bytes]:
    del chunked
    return Held(transport), READY


async def stream(_: web.Request) -> web.StreamResponse:
    return Response(begin)


async def main(port: int) -> None:
    app = web.Application()
    app.router.add_get("/api/stream", stream)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    gc.collect()
    gc.freeze()
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as running:
        running.run(main(int(sys.argv[1])))
