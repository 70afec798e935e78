"""The fan-out engine alone: Tailrace's pubsub, outbound and take-over, published to in process.

    python scripts/peers/engine.py PORT [uvloop|asyncio] [on|off]

`GET /sse?channel=c` streams, `POST /pub` publishes its body as the data of one event. No database:
what is measured is what a delivery costs once the event has been read.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvloop
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parents[2]))

from server.auth.principal import ANONYMOUS
from server.log.model import Event
from server.stream.connection import Connection
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


def engine(*, taken: bool) -> Any:
    pubsub = PubSub(RING)
    pubsub.rebase(EPOCH, 0, None)
    streams = Streams(pubsub, heartbeat=15.0, deadline=30.0, max_streams=None)
    service = SimpleNamespace(
        pubsub=pubsub, streams=streams, replay=Replay(pubsub, None), outbound=None
    )
    if taken:
        service.outbound = Outbound(pubsub, service.replay, streams.remove)
    return service


async def main(port: int, *, taken: bool) -> None:
    service = engine(taken=taken)

    async def sse(request: web.Request) -> web.StreamResponse:
        wanted = SimpleNamespace(channel=request.query.getall("channel", ["c"]), limit=None)
        opening = Opening(
            service, ANONYMOUS, wanted, Matcher(wanted.channel), Start(service.pubsub.id), 262_144
        )
        return await opening.answer(Connection(request, 30.0))

    async def publish(request: web.Request) -> web.Response:
        data = (await request.read()).decode()
        channel = request.query.get("channel", "c")
        event = Event(
            service.pubsub.position + 1, channel, None, BODY % (channel, uuid.uuid4(), data)
        )
        service.pubsub.publish([event])
        return web.Response()

    async def health(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_get("/sse", sse)
    app.router.add_post("/pub", publish)
    app.router.add_get("/healthz", health)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    gc.collect()
    gc.freeze()
    await service.streams.run()


if __name__ == "__main__":
    loop = (sys.argv[2:] or ["uvloop"])[0]
    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main(int(sys.argv[1]), taken=sys.argv[3:] != ["off"]))
