"""A client that leaves before it is answered; the fixture looks for complaints in the log."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from tests.clients.conftest import Serve
from tests.clients.served import STREAM
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

_WAITING = """
    SELECT count(*) FROM pg_locks
    WHERE NOT granted AND relation = 'tailrace.epoch_history'::regclass"""


async def test_a_client_that_leaves_before_the_headers_is_no_error(serve: Serve) -> None:
    served = await serve(TAILRACE_RING_BYTES="0")
    await served.publish(2)
    await served.head()
    epoch = await served.sql.fetchval("SELECT epoch FROM tailrace.head")
    async with aiohttp.ClientSession(served.url) as other:
        async with served.sql.transaction():
            await served.sql.execute("LOCK TABLE tailrace.epoch_history")
            _, leaving = await asyncio.open_connection("127.0.0.1", served.proxy.port)
            head = f"GET {STREAM} HTTP/1.1\r\nHost: x\r\nLast-Event-ID: {epoch}.1\r\n\r\n"
            leaving.write(head.encode())
            await until(lambda: served.sql.fetchval(_WAITING))
            served.proxy.cut("rst")
            leaving.close()
            # The server has heard of the reset once it has answered somebody else since.
            for _ in range(2):
                async with other.get("/healthz") as answer:
                    assert answer.status == 200
        async with other.get(f"{STREAM}&after=earliest&limit=2") as answer:
            assert (await answer.text()).count('"n"') == 2
