"""aiohttp-sse-client2: an EventSource for aiohttp, started anew after every cut.

It comes back by itself only after an orderly end. A cut it raises, and keeps what it had of a
frame: so its user makes a new one, with the id of the last event.
"""

from __future__ import annotations

import json
from datetime import timedelta

import aiohttp
import pytest
from aiohttp_sse_client2.client import EventSource, MessageEvent  # type: ignore[import-untyped]

from tests.clients.conftest import Serve
from tests.clients.received import Received
from tests.clients.served import STREAM

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUICK = timedelta(milliseconds=5)
"""Doubled with each refusal; the default of 5 s is what its users wait first."""


async def follow(base: str, received: Received[MessageEvent]) -> None:
    """Keep the events coming, over every cut."""
    position = ""
    async with aiohttp.ClientSession() as session:
        while True:
            headers = {"Last-Event-ID": position} if position else {}
            try:
                async with EventSource(
                    f"{base}{STREAM}", reconnection_time=QUICK, session=session, headers=headers
                ) as source:
                    async for event in source:
                        received.append(event)
                        position = event.last_event_id
            except (aiohttp.ClientError, ConnectionError):
                received.cuts += 1


async def test_nothing_is_lost_over_a_storm_of_cuts(serve: Serve) -> None:
    served = await serve()
    received = Received[MessageEvent]()
    async with received.by(follow(served.proxy.url, received)):
        await received.until(lambda events: any(event.type == "ready" for event in events))
        await served.storm()
        await received.until(lambda events: served.published[-1] in numbers(events))
    assert numbers(received) == served.published
    assert received.cuts >= 6


def numbers(events: list[MessageEvent]) -> list[int]:
    return [json.loads(event.data)["data"]["n"] for event in events if event.type is None]
