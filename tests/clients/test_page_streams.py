"""The pages Streams and Events as a debugger, against streams that other clients have opened."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect

from server.app import DATABASE
from server.db.pool import Database
from server.keys import POOL
from server.log import peers
from server.log.living import LOCK_CLASS
from server.stream import news
from tests.clean import reused
from tests.clients.tabs import Tabs, tabs
from tests.served import Served, Stream, served
from tests.waiting import until

__all__ = ["reused"]

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

BIG = '{"big":12345678901234567890}'


@pytest.fixture(scope="module", autouse=True)
def soon() -> Iterator[None]:
    """What is told within a second is told at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(news, "PERIOD", 0.05)
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(reused: Database) -> AsyncIterator[Served]:
    async with served(reused) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def opened(server: Served, browser: Browser) -> AsyncIterator[Tabs]:
    """An admin's, for all tests here."""
    async with tabs(server, browser, "admin") as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tab(opened: Tabs) -> Page:
    """The one tab of all tests here: a browser has six connections."""
    return await opened.open("/events")


def line(tab: Page, *texts: str) -> Locator:
    """The open stream that shows all of these."""
    found = tab.get_by_role("table").get_by_role("row")
    for text in texts:
        found = found.filter(has_text=text)
    return found


def row(tab: Page, *texts: str) -> Locator:
    """The event that shows all of these."""
    found = tab.locator("ol.rows > li:has(> .line)")
    for text in texts:
        found = found.filter(has_text=text)
    return found


async def listen(tab: Page, channels: str, start: str = "Now", amount: str = "") -> None:
    """Subscribe by the form; what was there before goes."""
    await tab.evaluate("location.hash = '/events'")
    clear = tab.get_by_role("button", name="Clear")
    if await clear.is_enabled():
        await clear.click()
    await tab.get_by_label("Channels").fill(channels)
    await tab.get_by_label("Start").select_option(start)
    if amount:
        await tab.get_by_label(re.compile("How many|Since when")).fill(amount)
    await tab.get_by_role("button", name=re.compile("Subscribe|Rewind")).click()
    await expect(tab.locator("header .pill")).to_have_text("Live")


def asked_for(server: Served) -> set[str]:
    """The channels that anybody listens to."""
    return {name for stream in server.service.streams for name in stream.subscriber.channels}


async def other(server: Served, *channels: str) -> tuple[Stream, str]:
    """Another client's stream, and who has it."""
    user, token = await server.sign_in()
    mine = [name.format(user) for name in channels]
    return (await server.live(*mine, headers={"Authorization": f"Bearer {token}"}))[0], user


async def test_streams_of_others_are_seen_found_and_ended(
    server: Served, opened: Tabs, tab: Page
) -> None:
    await server.live("public.a")
    stream, user = await other(server, "public.orders.>", "user.{}.x", "posts", "public.*.b")
    await opened.show(tab, "/streams")
    await expect(line(tab, "Anonymous", "public.a", "127.0.0.1", "Live")).to_be_visible()
    await expect(line(tab, user, "public.orders.>")).to_be_visible()
    await line(tab, user).get_by_role("button", name="1 more channel").click()
    await expect(line(tab, user).get_by_role("listitem")).to_have_count(4)

    await tab.get_by_label("Reached by an event on").fill("public.orders.7.paid")
    await tab.get_by_label("Reached by an event on").press("Enter")
    await expect(line(tab, "Anonymous")).to_have_count(0)
    await expect(line(tab, user)).to_be_visible()
    assert tab.url.endswith("#/streams?channel=public.orders.7.paid")
    await line(tab, user).get_by_role("link", name=user).first.click()
    await expect(tab.get_by_label("User", exact=True)).to_have_value(user)
    await expect(tab.get_by_label("Channel", exact=True)).to_have_value("public.orders.7.paid")
    await tab.get_by_label("Data (JSON)").fill(BIG)
    await tab.get_by_role("button", name="Publish", exact=True).click()
    heard = (await stream.named(None)).data
    assert (heard["channel"], heard["data"]) == ("public.orders.7.paid", json.loads(BIG))

    await line(tab, user).get_by_role("button", name="End the stream").press("Enter")
    await expect(line(tab, user)).to_be_visible()
    await line(tab, user).get_by_role("button", name="Press again").press("Enter")
    assert (await stream.named("bye")).data["reason"] == "revoked"
    await expect(tab.get_by_text("No open stream matches")).to_be_visible()
    await expect(tab.get_by_role("heading", name="Open streams")).to_be_focused()
    await tab.get_by_role("link", name="Show all").click()
    await expect(line(tab, "Anonymous")).to_be_visible()
    await expect(line(tab, user)).to_have_count(0)


async def test_a_row_tells_its_age_lag_position_and_bytes(
    server: Served, opened: Tabs, tab: Page
) -> None:
    user, token = await server.sign_in()
    bearer = {"Authorization": f"Bearer {token}"}
    stream, _ = await server.live(f"user.{user}.x", headers=bearer, buffer=4_096)
    stream.pause()
    await server.publish(f"user.{user}.x", *["x" * 300_000] * 3)
    _, token = await server.sign_in("admin")

    async def found() -> Any:
        path = f"/api/streams?user={user}"
        return (await server.get(path, Authorization=f"Bearer {token}"))[1]["streams"][0]

    async def stalled() -> bool:
        told = await found()
        return bool(told["state"] == "lagging" and told["waiting"])

    await until(stalled)
    await opened.show(tab, f"/streams?user={user}")
    await expect(line(tab, user)).to_contain_text("Lagging")
    told = await found()
    head = await server.app[POOL].fetchval("SELECT pos FROM tailrace.head")
    assert told["lag"] == head - int(told["position"].partition(".")[2]) > 0
    sent, waiting = (f"{told[name] / 1024:.0f} KB" for name in ("bytes", "waiting"))
    for label, text in (
        ("Age", re.compile(r"^(\d+ min )?\d+ s$")),
        ("Lag", f"{told['lag']}{told['position']}"),
        ("Sent", f"{sent}{waiting} waiting"),
    ):
        cell = line(tab, user).locator(f'[data-label="{label}"]')
        await expect(cell).to_have_text(text)
        # On a wide screen the label is the column's.
        titles = await tab.get_by_role("columnheader").all_text_contents()
        place = line(tab, user).locator("th, td").nth(titles.index(label))
        await expect(place).to_have_text(text)
    stream.abort()


async def test_it_rewinds_and_goes_on_live_without_a_hole(server: Served, tab: Page) -> None:
    await server.publish("public.past", *({"n": n} for n in range(60)))
    await server.publish("public.else", {"n": "else"})
    await server.settled()
    await listen(tab, "public.past", "Last events", "3")
    await server.publish("public.past", json.loads(BIG), type="later")
    data = row(tab).locator(".preview")
    await expect(data).to_have_text([re.compile("big"), *(f'{{"n": {n}}}' for n in (59, 58, 57))])
    await expect(tab.locator("li.note")).to_contain_text("Rewound 3 events of the past")

    await listen(tab, "public.past", "Since", "1h")
    await expect(row(tab)).to_have_count(61)
    # As the log has it: as a number of JavaScript it would be another one.
    await row(tab, "later").get_by_role("button").click()
    await expect(tab.locator(".detail pre.code").first).to_contain_text("12345678901234567890")
    await tab.get_by_label("Since when").fill("yesterday")
    await tab.get_by_role("button", name="Rewind").click()
    await expect(tab.get_by_role("alert")).to_contain_text("How long ago")


async def test_who_comes_and_goes_is_seen_without_a_reload(
    server: Served, opened: Tabs, tab: Page
) -> None:
    first, user = await other(server, "public.first")
    await opened.show(tab, "/streams")
    await expect(line(tab, "You", "ops.streams")).to_be_visible()
    await expect(line(tab, user, "public.first")).to_be_visible()
    first.abort()
    _, later = await other(server, "public.later")
    await expect(line(tab, later, "public.later")).to_be_visible()
    await expect(line(tab, user)).to_have_count(0)
    busiest = tab.get_by_role("region", name="Most subscribers").get_by_role("listitem")
    await expect(busiest.filter(has_text="public.later")).to_contain_text("1 subscriber")


async def test_the_raw_frame_stands_beside_the_data(server: Served, tab: Page) -> None:
    markup = "<img src=x onerror=alert(1)>"
    await listen(tab, "public.raw")
    await server.publish("public.raw", {"html": markup})
    await row(tab, "public.raw").get_by_role("button").click()
    data, frame = (tab.get_by_role("group", name=name) for name in ("Data", "Raw frame"))
    await expect(data).to_have_text(f'{{\n  "html": "{markup}"\n}}')
    await expect(frame).to_have_text(
        re.compile(r'id: [0-9a-f]+\.\d+\s+data: \{"channel":"public\.raw","type":"t",.*<img', re.S)
    )
    assert await tab.locator("#app img").count() == 0
    await tab.set_viewport_size({"width": 390, "height": 800})
    await expect(frame).to_be_hidden()
    await tab.get_by_role("button", name="Raw frame", exact=True).click()
    await expect(frame).to_be_visible()
    await expect(data).to_be_hidden()
    await tab.set_viewport_size({"width": 1280, "height": 900})
    await expect(data).to_be_visible()


async def test_stop_ends_the_traffic_and_listening_again_begins_at_the_present(
    server: Served, tab: Page
) -> None:
    await listen(tab, "public.s")
    await tab.get_by_role("button", name="Control frames").click()
    await until(lambda: "public.s" in asked_for(server))
    await tab.get_by_role("button", name="Stop").click()
    await expect(tab.locator("header .pill")).to_have_text("Stopped")
    await until(lambda: "public.s" not in asked_for(server))
    await server.publish("public.s", {"n": "missed"})
    await server.settled()
    await tab.get_by_role("button", name="Listen", exact=True).click()
    await expect(tab.locator("header .pill")).to_have_text("Live")
    await expect(tab.locator("li.note").filter(has_text="ready")).to_be_visible()
    await server.publish("public.s", {"n": "heard"})
    await expect(row(tab)).to_have_text([re.compile("heard")])


async def test_pause_holds_the_list_and_filters_take_text_and_channel(
    server: Served, tab: Page
) -> None:
    await listen(tab, "public.>")
    await server.publish("public.f.one", {"who": "Ann"}, {"who": "Bob"})
    await expect(row(tab)).to_have_count(2)
    await tab.get_by_role("button", name="Pause").click()
    await server.publish("public.f.two", {"who": "Ann"}, {"who": "Cid"})
    await expect(tab.locator(".held")).to_contain_text("Paused · 2 new")
    await expect(row(tab)).to_have_count(2)
    await tab.get_by_role("button", name="Resume").click()
    await expect(row(tab)).to_have_count(4)
    text = tab.get_by_label("Filter by text")
    # The channel is none of the three, nor are the names of the frame's fields.
    for wanted, count in (("ann", 2), ("public.f", 0), ("message_id", 0), ("", 4)):
        await text.fill(wanted)
        await expect(row(tab)).to_have_count(count)
    await text.fill("ann")
    await tab.get_by_label("Filter by channel").fill("public.*.two")
    await expect(row(tab)).to_have_count(1)
    await expect(tab.locator(".foot")).to_contain_text("3 filtered out")


async def test_a_process_that_does_not_answer_is_told(
    server: Served, opened: Tabs, tab: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "PATIENCE", 0.2)
    connection = await asyncpg.connect(server.app[DATABASE].url)
    await connection.execute("SELECT pg_advisory_lock_shared($1, $2)", LOCK_CLASS, 0x1234567)
    await opened.show(tab, "/streams")
    await expect(tab.get_by_text("This is not all.")).to_be_visible()
    await expect(tab.locator(".banner")).to_contain_text("A process did not answer")
    await expect(tab.locator(".banner code")).to_have_text("01234567")
    await connection.close()
