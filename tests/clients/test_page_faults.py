"""What a page shows after a fault is what the database holds: nothing is lost, nothing is twice.

One server process with its own Postgres, behind the fault proxy, which also sees what the browser
asks for; three tabs of one user.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from server.auth.sessions import COOKIE, create
from tests.clients.connected import drawn, frozen
from tests.clients.proxy import Proxy
from tests.clients.subject import Subject, Tabs
from tests.clients.tabs import PATIENCE, Complaints
from tests.conftest import plant
from tests.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PLACES = {
    "/": ".about",
    "/webhooks": ".connect",
    "/streams": ".roster table",
    "/example": ".posts .entry",
}
"""Pages with streams of their own, and what is there only once these are live."""
FIGURES = re.compile(r"up \d+ s;")
"""Of the newest metrics event."""
CUT = "Failed to load resource: net::ERR_"
"""The browser itself, of what a page asked for while there was no network or no server."""
STARTING = "status of 503 (Service Unavailable) {{'url': '{}/readyz'"
"""And of what it asked a server that has only just found its database."""


@pytest.fixture(scope="module")
def ends() -> Iterator[contextlib.ExitStack]:
    """Whatever happens, no process stays behind."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def directory(shelf: Path, seed: Path) -> Path:
    """With the data of a Postgres that was started before."""
    directory = Path(tempfile.mkdtemp(dir=shelf))
    directory.chmod(0o711)
    plant(seed, directory / "data")
    return directory


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def subject(directory: Path, ends: contextlib.ExitStack) -> AsyncIterator[Subject]:
    """It runs, and has a user."""
    async with Proxy(0) as proxy:
        subject = Subject(directory, proxy)
        subject.start(ends)
        [row] = await subject.sql(
            "INSERT INTO users (name, email, role) VALUES ('Ada', 'ada@example.com', 'admin')"
            " RETURNING id"
        )
        subject.user = row["id"]
        yield subject


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tabs(subject: Subject, browser: Browser) -> AsyncIterator[Tabs]:
    """They are live, with a post."""
    expect.set_options(timeout=PATIENCE)
    await subject.post("First")
    url = (subject.directory / "data" / "url").read_text().strip()
    async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool:
        token = await create(pool, subject.user)
    context = await browser.new_context(viewport={"width": 1600, "height": 900})
    await context.add_cookies([{"name": COOKIE, "value": token, "url": subject.proxy.url}])
    complaints = await Complaints().of(context)
    posts, events, third = [await context.new_page() for _ in range(3)]
    await posts.goto(f"{subject.proxy.url}/#/example")
    await events.goto(f"{subject.proxy.url}/#/events?channels=posts")
    await events.get_by_label("Start").select_option("Last events")
    await events.get_by_role("button", name="Rewind").click()
    await third.goto(f"{subject.proxy.url}/#/")
    opened = Tabs(context, complaints, posts, events, third)
    await opened.show(subject)
    yield opened
    await context.close()


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def content(tabs: Tabs) -> AsyncIterator[None]:
    """After each test the browser must not have complained."""
    yield
    found, tabs.complaints.texts = tabs.complaints.texts, []
    assert not found


async def test_live_pages_ask_for_nothing(subject: Subject, tabs: Tabs) -> None:
    await tabs.go("/")
    figures = tabs.third.locator(".about")
    await expect(figures).to_have_text(FIGURES)
    for tab in (tabs.posts, tabs.events, tabs.third):
        # The last answer that a page waits for, once its stream is live.
        await expect(tab.locator("header .facts")).to_contain_text("Mode")
    await until(lambda: len(subject.proxy.carried) == 1)
    asked, carried = list(subject.proxy.requests), subject.proxy.carried
    for _ in range(3):
        await expect(figures).not_to_have_text(await figures.inner_text())
    await subject.post("Told by the stream")
    await tabs.show(subject)
    assert subject.proxy.requests == asked
    assert subject.proxy.carried == carried


async def test_a_cut_network(subject: Subject, tabs: Tabs) -> None:
    async with subject.resumed():
        async with subject.proxy.refusing():
            await subject.post("While it was cut", "and once more")
            await subject.sql("DELETE FROM posts WHERE title = 'First'")
            await expect(tabs.posts.locator("header .pill")).to_have_text("Reconnecting")
        await subject.post("After it")
        await tabs.show(subject)
    tabs.complaints.forgive(CUT)


async def test_a_killed_server(subject: Subject, tabs: Tabs, ends: contextlib.ExitStack) -> None:
    async with subject.resumed():
        await subject.post("Just before")
        subject.process.signal(signal.SIGKILL)
        subject.process.ended()
        subject.start(ends)
        await subject.post("Just after")
        await tabs.show(subject)
    tabs.complaints.forgive(CUT, STARTING.format(subject.proxy.url))


async def test_a_killed_postgres(subject: Subject, tabs: Tabs) -> None:
    before = subject.postmaster
    async with subject.resumed(cut=False):
        await subject.post("Its last")
        os.kill(before, signal.SIGKILL)
        await until(subject.is_up)
        assert subject.postmaster != before
        await subject.post("Its first")
        await tabs.show(subject)
    tabs.complaints.forgive(STARTING.format(subject.proxy.url))


async def test_a_frozen_tab(subject: Subject, tabs: Tabs) -> None:
    await tabs.go("/example")
    await tabs.show_posts(subject, tabs.third)
    sessions = [await frozen(tab) for tab in (tabs.posts, tabs.events)]
    before = [await drawn(session) for session in sessions]
    await subject.post(*(f"Number {number}" for number in range(25)))
    await subject.sql("DELETE FROM posts WHERE title = 'Number 24'")
    await tabs.show_posts(subject, tabs.third)
    assert [await drawn(session) for session in sessions] == before
    for session in sessions:
        await session.detach()
    await tabs.show(subject)


async def test_pages_that_were_left_leave_nothing_behind(subject: Subject, tabs: Tabs) -> None:
    tab = await tabs.context.new_page()
    await tab.goto(f"{subject.proxy.url}/#/sign-in")
    heading = tab.get_by_role("heading", level=1)
    session = await tabs.context.new_cdp_session(tab)

    async def visit_all() -> int:
        for path, shown in PLACES.items():
            await tab.evaluate("path => { location.hash = path; }", path)
            await expect(tab.locator(shown).first).to_be_visible()
        await tab.evaluate("() => { location.hash = '/sign-in'; }")
        await expect(heading).to_have_text("Sign in")
        await session.send("HeapProfiler.collectGarbage")
        return int((await session.send("Memory.getDOMCounters"))["nodes"])

    await visit_all()
    before = await visit_all()
    after = await visit_all()
    # Each page has a hundred nodes and more: one that stays is seen.
    assert after < before + 100
    await tab.close()
    streams = await tabs.posts.evaluate("async () => (await fetch('/api/streams')).json()")
    assert len(streams["streams"]) == 1, streams


async def test_who_signs_in_or_out_does_so_in_all_tabs(subject: Subject, tabs: Tabs) -> None:
    main = tabs.posts.get_by_role("main")
    await tabs.events.get_by_role("button", name="Sign out").click()
    await expect(main).to_contain_text("For those who are signed in")
    await expect(main).not_to_contain_text("Number")
    await expect(tabs.events.locator("ol.rows > li")).to_have_count(0)
    form = tabs.posts.get_by_role("main")
    await form.get_by_role("button", name="Make one").click()
    await form.get_by_label("Name", exact=True).fill("Grace")
    await form.get_by_label("Email").fill("grace@example.com")
    await form.get_by_label("Password").fill("correct horse battery")
    await form.get_by_role("button", name="Make an account").click()
    for tab in (tabs.posts, tabs.events):
        await expect(tab.locator(".person")).to_contain_text(re.compile("Grace"))
