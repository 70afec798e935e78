"""Posts and notifications on the dashboard, in two tabs of one Chromium."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, NamedTuple

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, Route, expect

from server.db.pool import Database
from server.keys import POOL
from tests.clean import reused
from tests.clients.tabs import Tabs, tabs
from tests.served import Served, served

if TYPE_CHECKING:
    from server.db.pool import Pool

__all__ = ["reused"]

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

MANY = 25
"""More posts than a page of the list has."""
_POSTS = """
    INSERT INTO posts (author_id, title, content)
    SELECT $1, 'Number ' || n, 'text' FROM generate_series(1, $2) AS n"""


class Both(NamedTuple):
    """Two tabs of one user."""

    one: Page
    two: Page
    all: Tabs

    @property
    def pool(self) -> Pool:
        return self.all.server.app[POOL]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(reused: Database) -> AsyncIterator[Served]:
    """One for all tests here."""
    async with served(reused) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def two_tabs(server: Served, browser: Browser) -> AsyncIterator[Both]:
    """A new user's, both on the page."""
    async with tabs(server, browser) as opened:
        yield Both(await opened.open("/example"), await opened.open("/example"), opened)


@pytest_asyncio.fixture(loop_scope="session")
async def both(two_tabs: Both) -> Both:
    """With nothing in them."""
    await two_tabs.pool.execute("DELETE FROM posts")
    await two_tabs.pool.execute("DELETE FROM notifications")
    for tab in (two_tabs.one, two_tabs.two):
        for text in ("No posts yet.", "Nothing unread."):
            await expect(tab.get_by_role("main").get_by_text(text)).to_be_visible()
        if await tab.get_by_role("button", name="Clear").count():
            await tab.get_by_role("button", name="Clear").click()
    return two_tabs


def post(tab: Page, text: str) -> Locator:
    """A post in the list."""
    return tab.get_by_role("list", name="Posts, newest first").get_by_role("listitem").filter(
        has_text=text
    )  # fmt: skip


def notices(tab: Page, which: str) -> Locator:
    """The notifications that are `Unread`, or `Read`."""
    return tab.get_by_role("list", name=which, exact=True).get_by_role("listitem")


def trace(tab: Page, text: str) -> Locator:
    """What the panel tells of an action, or of an event from elsewhere."""
    return tab.get_by_role("log").get_by_role("listitem").filter(has_text=text)


async def write(tab: Page, title: str, content: str = "text") -> None:
    """Write a post with the form."""
    form = tab.get_by_role("form", name="New post")
    await form.get_by_label("Title").fill(title)
    await form.get_by_label("Content").fill(content)
    await form.get_by_role("button", name="Post", exact=True).click()


async def test_a_post_is_written_changed_and_deleted_in_both_tabs(both: Both) -> None:
    markup = "<img src=x onerror=alert(1)>"
    await write(both.one, markup)
    for tab in (both.one, both.two):
        await expect(post(tab, markup)).to_have_count(1)
    await expect(trace(both.one, "POST /api/posts → 201")).to_contain_text(
        re.compile(r"event insert on posts, key \d+\s*position [0-9a-f]{8}\.\d+")
    )
    await expect(trace(both.two, "From elsewhere")).to_contain_text("event insert on posts")

    await post(both.one, markup).get_by_role("button", name="Edit").click()
    edited = both.one.get_by_role("form", name="Edit")
    await edited.get_by_label("Content").fill("in other words")
    # While it is edited here, it is changed there.
    await both.pool.execute("UPDATE posts SET title = 'Changed by SQL', updated_at = now()")
    await expect(both.one.get_by_text("changed elsewhere meanwhile")).to_be_visible()
    await edited.get_by_role("button", name="Save").click()
    for tab in (both.one, both.two):
        await expect(post(tab, markup)).to_contain_text("in other words")
    await expect(trace(both.one, "PATCH /api/posts/")).to_contain_text("event update on posts")
    await expect(post(both.one, markup).get_by_role("button", name="Edit")).to_be_focused()

    await post(both.two, markup).get_by_role("button", name="Delete").press("Enter")
    await post(both.two, markup).get_by_role("button", name="Press again").press("Enter")
    for tab in (both.one, both.two):
        await expect(tab.get_by_text("No posts yet.")).to_be_visible()


async def test_a_refused_post_tells_why_beside_its_field(both: Both) -> None:
    await write(both.one, "", "text")
    form = both.one.get_by_role("form", name="New post")
    title = form.get_by_label("Title")
    await expect(title).to_have_attribute("aria-invalid", "true")
    await expect(title).to_have_accessible_description("At least 1 character")
    await expect(title).to_be_focused()
    await expect(form.get_by_label("Content")).not_to_have_attribute("aria-invalid", "true")
    await expect(trace(both.one, "POST /api/posts → 400")).to_contain_text("No event")
    await title.fill("A title")
    await title.press("Enter")
    await expect(post(both.two, "A title")).to_be_visible()
    await expect(form.get_by_label("Content")).to_have_value("")
    both.all.forgive("status of 400")  # the browser itself tells the console


async def test_a_long_list_comes_page_by_page_and_stays_live(both: Both) -> None:
    await both.pool.execute(_POSTS, both.all.user, MANY)
    # A reader who comes now; the tab before has them all by their events.
    await both.one.reload()
    await expect(post(both.one, "Number")).to_have_count(20)
    # Of what is not shown yet, no event shows a part.
    await both.pool.execute("UPDATE posts SET content = 'anew' WHERE title = 'Number 2'")
    await both.pool.execute("UPDATE posts SET content = 'anew' WHERE title = 'Number 25'")
    await expect(post(both.one, "Number 25")).to_contain_text("anew")
    await expect(post(both.one, "anew")).to_have_count(1)
    await both.one.get_by_role("button", name="Show more", exact=True).click()
    await expect(post(both.one, "Number")).to_have_count(MANY)
    await expect(post(both.one, "anew")).to_have_count(2)
    assert await post(both.one, "Number").locator("strong").all_inner_texts() == [
        f"Number {n}" for n in range(MANY, 0, -1)
    ]
    await both.pool.execute("DELETE FROM posts WHERE title <> 'Number 7'")
    for tab in (both.one, both.two):
        await expect(post(tab, "Number")).to_have_text([re.compile("^Number 7")])


async def test_notifications_are_read_one_by_one_and_all_at_once_in_both_tabs(both: Both) -> None:
    for title in ("First", "Second", "Third"):
        await both.pool.execute(
            "INSERT INTO notifications (user_id, title) VALUES ($1, $2)", both.all.user, title
        )
    bell = both.two.get_by_role("button", name="Notifications: ")
    for tab in (both.one, both.two):
        await expect(notices(tab, "Unread")).to_have_text(
            [re.compile(each) for each in ("Third", "Second", "First")]
        )
    await expect(bell).to_have_accessible_name("Notifications: 3 unread")
    await both.one.get_by_role("button", name="Mark as read: Second").click()
    for tab in (both.one, both.two):
        await expect(notices(tab, "Read")).to_have_text([re.compile("Second")])
    await expect(bell).to_have_accessible_name("Notifications: 2 unread")
    await both.two.get_by_role("button", name="Mark all as read").click()
    for tab in (both.one, both.two):
        await expect(notices(tab, "Read")).to_have_count(3)
    await expect(trace(both.two, "read-all → 200")).to_contain_text("× 2")
    await expect(bell).to_have_accessible_name("Notifications: 0 unread")
    await notices(both.one, "Read").first.get_by_role("button", name="Delete Third").click()
    await both.one.get_by_role("button", name="Press again: Delete Third").click()
    for tab in (both.one, both.two):
        await expect(notices(tab, "Read")).to_have_count(2)


async def test_what_is_committed_while_the_list_is_under_way_is_there(
    server: Served, browser: Browser
) -> None:
    insert = """
        INSERT INTO notifications (user_id, title, read_at) VALUES ($1, $2, now())"""
    async with tabs(server, browser, "admin") as opened:
        tab = await opened.open()

        async def late(route: Route) -> None:
            answer = await route.fetch()  # read, and not there yet
            await server.app[POOL].execute(insert, opened.user, "Meanwhile")
            await expect(trace(tab, "From elsewhere")).to_contain_text("event insert")
            await expect(tab.locator(".notices").get_by_text("Loading …")).to_be_visible()
            await route.fulfill(response=answer)

        await server.app[POOL].execute(insert, opened.user, "Before")
        await tab.route(re.compile(r"/api/notifications\?limit"), late, times=1)
        await opened.show(tab, "/example")
        both = [re.compile("Meanwhile"), re.compile("Before")]
        await expect(notices(tab, "Read")).to_have_text(both)
        await expect(tab.get_by_text("Loading …")).to_have_count(0)
        # And an admin may notify.
        await tab.get_by_label("Notify yourself").fill("To myself")
        await tab.get_by_role("button", name="Notify", exact=True).click()
        await expect(notices(tab, "Unread")).to_have_text([re.compile("To myself")])
        await expect(trace(tab, "POST /api/notifications → 201")).to_contain_text("event insert")
