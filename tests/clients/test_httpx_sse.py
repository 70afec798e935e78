"""httpx-sse: a Python client that leaves reconnecting to its caller."""

from __future__ import annotations

import httpx
import pytest
from httpx_sse import ServerSentEvent, aconnect_sse

from tests.clients.conftest import Serve
from tests.clients.received import Received
from tests.clients.served import STREAM

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def follow(url: str, received: Received[ServerSentEvent]) -> None:
    """Keep the events coming, over every cut."""
    position = ""
    async with httpx.AsyncClient(timeout=httpx.Timeout(20), trust_env=False) as client:
        while True:
            headers = {"Last-Event-ID": position} if position else {}
            try:
                async with aconnect_sse(client, "GET", url, headers=headers) as stream:
                    async for event in stream.aiter_sse():
                        received.append(event)
                        position = event.id
            except httpx.TransportError:
                received.cuts += 1


async def test_nothing_is_lost_over_a_storm_of_cuts(serve: Serve) -> None:
    served = await serve(TAILRACE_RING_BYTES="0")
    received = Received[ServerSentEvent]()
    async with received.by(follow(f"{served.proxy.url}{STREAM}", received)):
        await received.until(lambda events: any(event.event == "ready" for event in events))
        await served.storm()
        await received.until(lambda events: [e for e in events if is_last(e, served.published)])
    messages = [event for event in received if event.event == "message" and event.data]
    # An id-only block is an empty message there; browsers dispatch nothing.
    assert len(messages) < len([event for event in received if event.event == "message"])
    assert [event.json()["data"]["n"] for event in messages] == served.published
    assert received.cuts >= 6


def is_last(event: ServerSentEvent, published: list[int]) -> bool:
    return f'"n": {published[-1]}}}' in event.data
