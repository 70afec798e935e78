"""aiohttp-sse as its own chat example has it: a queue and a parked handler for each client.

python aiohttp_sse_app.py PORT
"""

import asyncio
import sys
from collections import defaultdict

import uvloop
from aiohttp import web
from aiohttp_sse import EventSourceResponse, sse_response

CHANNELS = web.AppKey("channels", defaultdict[str, set[asyncio.Queue[str]]])


async def subscribe(request: web.Request) -> EventSourceResponse:
    async with sse_response(request) as response:
        queue: asyncio.Queue[str] = asyncio.Queue()
        clients = request.app[CHANNELS][request.query.get("channel", "c")]
        clients.add(queue)
        try:
            while response.is_connected():
                payload = await queue.get()
                await response.send(payload)
                queue.task_done()
        finally:
            clients.discard(queue)
    return response


async def publish(request: web.Request) -> web.Response:
    payload = await request.text()
    channels = request.app[CHANNELS]
    if "channels" in request.query:
        # One event to each of N channels.
        names = [f"c{number}" for number in range(int(request.query["channels"]))]
    else:
        names = [request.query.get("channel", "c")]
    for name in names:
        for queue in channels[name]:
            queue.put_nowait(payload)
    return web.Response()


async def health(_: web.Request) -> web.Response:
    return web.Response(text="ok")


app = web.Application()
app[CHANNELS] = defaultdict(set)
app.router.add_get("/sse", subscribe)
app.router.add_post("/pub", publish)
app.router.add_get("/healthz", health)
web.run_app(
    app,
    host="127.0.0.1",
    port=int(sys.argv[1]),
    access_log=None,
    print=None,
    backlog=4096,
    loop=uvloop.new_event_loop(),
)
