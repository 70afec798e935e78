"""Bare aiohttp that takes deliveries: the body is read, the answer is Tailrace's, nothing is kept.

    python bare_webhooks.py PORT [SECRET]

With `SECRET` the signature is checked as Tailrace does it. What storing costs is the rest.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from pathlib import Path

import uvloop
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parents[2]))

from server.webhooks.providers.dodo import DODO
from server.webhooks.signing.signatures import BadSignatureError, NoSignatureError, plain

ANSWER = {"received": True, "id": "0123456789abcdef0123456789abcdef"}


async def take(request: web.Request) -> web.Response:
    await request.read()
    return web.json_response(ANSWER)


async def verify(request: web.Request) -> web.Response:
    body = await request.read()
    try:
        DODO.scheme.verify(body, plain(request.headers.items()), sys.argv[2:], time.time())
    except (NoSignatureError, BadSignatureError):
        return web.Response(status=401)
    return web.json_response(ANSWER)


async def main(port: int, *, verified: bool) -> None:
    app = web.Application()
    app.router.add_post(DODO.path, verify if verified else take)
    # As server/run.py does.
    runner = web.AppRunner(
        app,
        handler_cancellation=False,
        access_log=None,
        keepalive_timeout=75,
        auto_decompress=False,
    )
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as running:
        running.run(main(int(sys.argv[1]), verified=len(sys.argv) > 2))
