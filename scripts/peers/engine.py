"""The fan-out engine alone: Tailrace's pubsub, outbound and take-over, published to in process.

    python scripts/peers/engine.py PORT [uvloop|asyncio] [on|off]

`GET /sse?channel=c` streams, `POST /pub?channel=c` publishes its body as the data of one event,
`POST /pub?channels=N` one event to each of the channels c0, c1, … No database: what is measured is
what a delivery costs once the event has been read.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvloop
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parents[2]))

from server.auth.principal import ANONYMOUS
from server.log.model import Event
from server.stream.handlers import StreamWanted
from server.stream.names import Matcher
from server.stream.opening import Opening
from server.stream.outbound import Outbound
from server.stream.pubsub import PubSub
from server.stream.replay import Replay
from server.stream.service import Start
from server.stream.streams import Streams

EPOCH = "0badcafe"
RING = 16 * 1024 * 1024
BODY = (
    '{"channel":"%s","type":"tick","key":null,"at":"2026-11-22T16:04:05.123Z",'
    '"message_id":"%s","data":%s}'
)


MESSAGE = "00000000-0000-4000-8000-%012x"
"""Message ids come with the events, from Postgres: making them is no work of the engine."""


MAY_LACK = frozenset({"max_streams"})
"""Parameters that not every version of the server has, and that it measures the same without."""


def fitting(make: Callable[..., Any], **values: Any) -> Any:
    """`make` with `values`, without those that it may lack.

    Raises:
        TypeError: it has no other parameter of that name: something else would be measured.
    """
    known = inspect.signature(make).parameters
    if unknown := values.keys() - known.keys() - MAY_LACK:
        raise TypeError(f"{make.__name__} takes no {', '.join(sorted(unknown))}")
    return make(**{name: value for name, value in values.items() if name in known})


def engine(*, taken: bool) -> Any:
    pubsub = PubSub(RING)
    pubsub.rebase(EPOCH, 0, None)
    streams = fitting(Streams, pubsub=pubsub, heartbeat=15.0, deadline=30.0, max_streams=None)
    service = SimpleNamespace(
        pubsub=pubsub,
        streams=streams,
        replay=Replay(pubsub, None),  # type: ignore[arg-type]  # it is never far behind
        outbound=None,
    )
    if taken:
        service.outbound = Outbound(pubsub, service.replay, streams.remove)
    return service


class Handlers:
    """What is served, of one engine."""

    def __init__(self, service: Any) -> None:
        self.service = service

    async def stream(self, request: web.Request) -> web.StreamResponse:
        wanted = StreamWanted(channel=request.query.getall("channel", ["c"]))
        opening = fitting(
            Opening,
            service=self.service,
            principal=ANONYMOUS,
            address="",
            wanted=wanted,
            channels=Matcher(wanted.channel),
            start=Start(self.service.pubsub.id),
            capacity=262_144,
        )
        answer: web.StreamResponse = await opening.answer(request, 30.0)
        return answer

    async def publish(self, request: web.Request) -> web.Response:
        data = (await request.read()).decode()
        if "channels" not in request.query:
            self._publish([request.query.get("channel", "c")], data)
            return web.Response()
        names = [f"c{number}" for number in range(int(request.query["channels"]))]
        while names:
            # As the log's reader does it: no more at a time than the loop can bear.
            step = max(1, min(200, self.service.pubsub.bearable))
            self._publish(names[:step], data)
            names = names[step:]
            await asyncio.sleep(0)
        return web.Response()

    def _publish(self, names: list[str], data: str) -> None:
        first = self.service.pubsub.position + 1
        self.service.pubsub.publish(
            [
                Event(pos, name, None, BODY % (name, MESSAGE % pos, data))
                for pos, name in enumerate(names, first)
            ]
        )

    async def health(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")


async def main(port: int, *, taken: bool) -> None:
    service = engine(taken=taken)
    handlers = Handlers(service)
    app = web.Application()
    app.router.add_get("/sse", handlers.stream)
    app.router.add_post("/pub", handlers.publish)
    app.router.add_get("/healthz", handlers.health)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    gc.collect()
    gc.freeze()
    await service.streams.run()


if __name__ == "__main__":
    loop = (sys.argv[2:] or ["uvloop"])[0]
    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as running:
        running.run(main(int(sys.argv[1]), taken=sys.argv[3:] != ["off"]))
