from __future__ import annotations

from typing import Any

import pytest

from server.stream import news
from tests.served import Served, Stream
from tests.stream.neighbours import admin, pair, process, single

__all__ = ["pair", "single"]


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(news, "PERIOD", 0.02)


async def told(watcher: Stream, server: Served, **wanted: object) -> Any:
    """The next news of `server` that says this; nothing else comes on the channel."""
    while True:
        event = (await watcher.named(None)).data
        assert (event["channel"], event["type"]) == ("ops.streams", "streams")
        assert event["key"] == event["data"]["process"]
        data = event["data"]
        if event["key"] == process(server) and wanted.items() <= data.items():
            return data


async def test_every_process_hears_that_streams_opened_and_closed_in_another(
    pair: tuple[Served, Served],
) -> None:
    one, other = pair
    watcher, _ = await one.live("ops.streams", headers=await admin(one))
    await told(watcher, one, open=1, opened=1)
    stream, _ = await other.live("public.a")
    assert (await told(watcher, other, open=1))["opened"] == 1
    stream.abort()
    await told(watcher, other, open=0, opened=1)


async def test_one_that_came_and_went_between_two_looks_is_news(server: Served) -> None:
    watcher, _ = await server.live("ops.streams", headers=await admin(server))
    before = await told(watcher, server, open=1)
    ended = await server.open("public.a", limit=1, after="earliest")
    await server.publish("public.a", 1)
    await ended.rest()
    await told(watcher, server, open=1, opened=before["opened"] + 1)


async def test_events_are_news_after_a_while_and_news_are_none(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher, _ = await server.live("ops.streams", headers=await admin(server))
    first = await told(watcher, server, open=1)
    monkeypatch.setattr(news, "CALM", 2)
    for n in range(3):
        await server.publish("public.a", n)
        await server.settled()
        # The very next one: had an event on this channel been news, that would come first.
        event = (await watcher.named(None)).data
        assert event["data"] == first | {"position": str(server.service.pubsub.id)}


async def test_only_admins_hear_it(server: Served) -> None:
    _, token = await server.sign_in()
    for headers, status in (({}, 401), ({"Authorization": f"Bearer {token}"}, 403)):
        assert (await server.open("ops.streams", headers=headers)).status == status
