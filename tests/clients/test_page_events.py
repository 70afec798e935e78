"""The page of events in Chromium, as a stranger sees it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect

from server.db.pool import Database
from server.keys import POOL
from tests.clean import reused
from tests.clients.tabs import Tabs, tabs
from tests.served import KEY, Served, served

__all__ = ["reused"]

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(reused: Database) -> AsyncIterator[Served]:
    """One for all tests here."""
    async with served(reused) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def stranger(server: Served, browser: Browser) -> AsyncIterator[Tabs]:
    """Somebody who is not signed in."""
    async with tabs(server, browser, None) as opened:
        yield opened


def row(page: Page, *texts: str) -> Locator:
    """The event that shows all of these."""
    found = page.locator("ol.rows > li")
    for text in texts:
        found = found.filter(has_text=text)
    return found


async def test_a_committed_row_appears_and_what_it_holds_stays_text(stranger: Tabs) -> None:
    page, pool = await stranger.open("/events"), stranger.server.app[POOL]
    await pool.execute("CREATE TABLE lamps (id int PRIMARY KEY, item text)")
    await pool.execute("SELECT tailrace.watch('lamps', channel => 'public.lamps')")
    await pool.execute("INSERT INTO lamps VALUES (7, 'a lamp')")
    await expect(row(page, "public.lamps", "insert", "a lamp")).to_be_visible()
    markup = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    await pool.execute(
        "SELECT tailrace.publish('public.evil', $1, $2::jsonb, $1)", markup, json.dumps(markup)
    )
    await row(page, "public.evil").get_by_role("button").click()
    await expect(page.locator(".detail .parsed pre")).to_contain_text(markup)
    assert await page.locator("#app img, #app script").count() == 0


async def test_a_stranger_needs_a_key_to_publish(stranger: Tabs) -> None:
    page = await stranger.open("/")
    await expect(page.locator(".not-told")).to_contain_text("for admins")
    tiles = page.locator(".tile")
    await expect(tiles.filter(has_text="Received per second")).to_be_visible()
    await expect(tiles.filter(has_text="Connected clients")).to_have_count(0)
    await page.get_by_role("link", name="Events").click()
    await page.get_by_role("button", name="Publish", exact=True).click()
    await expect(page.locator(".result")).to_contain_text("Unauthorized")
    await page.get_by_label("API key").fill(KEY)
    await page.get_by_role("button", name="Publish", exact=True).click()
    await expect(row(page, "public.hello", "greeting")).to_be_visible()
    stranger.forgive("status of 401")


async def test_channels_can_be_chosen_and_stand_in_the_address(stranger: Tabs) -> None:
    page, server = await stranger.open("/events?channels=public.numbers"), stranger.server
    await server.publish("public.others", {"n": 0})
    await server.publish("public.numbers", {"n": 1})
    await expect(row(page, "public.numbers")).to_have_count(1)
    await expect(page.locator("ol.rows > li")).to_have_count(1)
    await page.get_by_label("Channels").fill("public.others, public.*")
    await page.get_by_role("button", name="Subscribe").click()
    await expect(page.locator("header .pill")).to_have_text("Live")
    await server.publish("public.others", {"n": 1})
    await expect(row(page, "public.others", '"n": 1')).to_be_visible()
    assert page.url.endswith("#/events?channels=public.others%2Cpublic.*")
