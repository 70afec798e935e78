"""sse-starlette on uvicorn, as its own broadcasting example has it: a queue for each client.

    python starlette_app.py PORT

The example asks before each event whether the client has gone; that is left out here, for the
response itself listens for it, and it would only cost.
"""

import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncIterator

import uvicorn
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

Queue = asyncio.Queue[ServerSentEvent]
channels: defaultdict[str, set[Queue]] = defaultdict(set)


async def stream(channel: str) -> AsyncIterator[ServerSentEvent]:
    queue: Queue = asyncio.Queue()
    channels[channel].add(queue)
    try:
        while True:
            yield await queue.get()
    finally:
        channels[channel].discard(queue)


async def subscribe(request: Request) -> EventSourceResponse:
    return EventSourceResponse(stream(request.query_params.get("channel", "c")))


async def publish(request: Request) -> Response:
    event = ServerSentEvent((await request.body()).decode())
    if "channels" in request.query_params:
        # One event to each of N channels.
        names = [f"c{number}" for number in range(int(request.query_params["channels"]))]
    else:
        names = [request.query_params.get("channel", "c")]
    for name in names:
        for queue in channels[name]:
            queue.put_nowait(event)
    return Response()


async def health(_: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


app = Starlette(
    routes=[
        Route("/sse", subscribe),
        Route("/pub", publish, methods=["POST"]),
        Route("/healthz", health),
    ]
)
uvicorn.run(
    app,
    host="127.0.0.1",
    port=int(sys.argv[1]),
    loop="uvloop",
    http="httptools",
    ws="none",
    lifespan="off",
    backlog=4096,
    log_level="warning",
    access_log=False,
)
