"""Who may see what on the dashboard, what goes when that ends, and a server with no secret set."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio
from playwright.async_api import Browser, FilePayload, Locator, Page, Route, expect

from server.auth.sessions import COOKIE
from server.db.pool import Database
from server.keys import POOL
from server.ops import metrics
from server.stream import permissions
from tests.clean import RESET, reused
from tests.clients.tabs import Tabs, tabs
from tests.served import Served, served
from tests.waiting import until

__all__ = ["reused"]

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

NO_LOCKS = "Object.defineProperty(Navigator.prototype, 'locks', { value: undefined })"
"""As on a page over plain http: each stream then has a connection of its own."""
CLOSED = ("/api/streams", "/api/channels", "/api/webhooks", "/api/keys")
FILES = [
    FilePayload(name=f"{number}.csv", mimeType="text/csv", buffer=b"a,b\n1,2\n")
    for number in (1, 2)
]


@pytest.fixture(scope="module", autouse=True)
def soon() -> Iterator[None]:
    """What is told or found out every second or two comes at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(permissions, "PERIOD", 0.1)
        patch.setattr(metrics, "PERIOD", 0.2)
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(reused: Database) -> AsyncIterator[Served]:
    """One for all tests here, with nothing in it."""
    connection = await asyncpg.connect(reused.url)
    await connection.execute(RESET)
    await connection.close()
    async with served(reused) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def opened(server: Served, browser: Browser) -> AsyncIterator[Tabs]:
    """One tab of a user who is no admin."""
    async with tabs(server, browser, "user") as found:
        await found.open("/")
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def admin(server: Served, browser: Browser) -> AsyncIterator[Tabs]:
    """One tab of an admin."""
    async with tabs(server, browser, "admin") as found:
        await found.open("/")
        yield found


def clients(tab: Page) -> Locator:
    """How many are connected, as the overview tells it to admins."""
    return tab.locator(".tile").filter(has_text="Connected clients").locator(".value")


def asked_for(server: Served) -> set[str]:
    """The channels that anybody listens to."""
    return {name for stream in server.service.streams for name in stream.subscriber.channels}


async def alone(opened: Tabs) -> Page:
    """A tab that shares no connection."""
    page = await opened.context.new_page()
    await page.add_init_script(NO_LOCKS)
    await page.goto(f"{opened.server.url}/")
    return page


async def test_pages_for_admins_are_closed_to_others_and_ask_for_nothing(
    server: Served, opened: Tabs
) -> None:
    (tab,) = opened.context.pages
    await expect(tab.locator(".not-told")).to_contain_text("Your account is not an admin’s.")
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(urlsplit(request.url).path))
    for title in ("Streams", "Webhooks", "API keys"):
        await tab.get_by_role("link", name=title, exact=True).click()
        await expect(tab.get_by_role("heading", level=1)).to_have_text(title)
        await expect(tab.locator(".gate")).to_contain_text("Your account is not an admin’s.")
        await expect(tab.get_by_label("Email")).to_be_visible()
    assert "/static/pages/sign-in.js" in asked
    assert not [path for path in asked if path.startswith(CLOSED)]
    assert not [name for name in asked_for(server) if name.startswith("ops.")]


async def test_a_typed_key_and_files_that_wait_go_with_who_signs_out(
    server: Served, opened: Tabs
) -> None:
    sent: list[str] = []

    async def hold(route: Route) -> None:
        sent.append(route.request.url)  # and it stays without an answer

    (sending,), typing = opened.context.pages, await opened.open("/events")
    await typing.get_by_text("Use an API key").click()
    await typing.get_by_label("API key").fill("trk_typed")
    await opened.show(sending, "/uploads")
    await sending.route("**/api/upload?*", hold)
    await sending.locator(".drop input").set_input_files(FILES)
    await expect(sending.locator(".sending")).to_contain_text("1 more to come")
    await sending.get_by_role("button", name="Sign out").click()
    await expect(sending.locator(".gate")).to_contain_text("For those who are signed in.")
    await expect(typing.get_by_role("link", name="Sign in")).to_be_visible()
    await expect(typing.get_by_label("API key")).to_have_value("")
    # Who comes next finds nothing of it, and sends nothing of it.
    _, token = await server.sign_in()
    cookie = {"name": COOKIE, "value": token, "url": server.url}
    await opened.context.add_cookies([cookie])  # type: ignore[list-item]
    await sending.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await expect(sending.get_by_text("Nothing here yet.")).to_be_visible()
    await expect(sending.locator(".sending")).to_have_count(0)
    assert len(sent) == 1
    opened.forgive("status of 401", "status of 403")


async def test_where_no_door_is_open_the_page_tells_how_to_open_one(admin: Tabs) -> None:
    (tab,) = admin.context.pages
    await admin.show(tab, "/webhooks")
    connect = tab.locator(".connect")
    await expect(connect).to_contain_text('DODO_PAYMENTS_WEBHOOK_KEY="whsec_')
    await expect(connect).not_to_contain_text("webhooks send")
    await connect.get_by_role("link", name="make a source").click()
    await expect(tab.locator(".source-card").first).to_contain_text("Closed")
    await expect(tab.get_by_text("webhooks send")).to_have_count(0)
    await tab.get_by_label("Name").fill("tried")
    await tab.get_by_role("button", name="Make the source").click()
    await expect(tab.get_by_text("webhooks send tried --secret")).to_be_visible()


async def test_an_admin_whose_role_is_taken_away_is_told_and_the_figures_stop(
    server: Served, admin: Tabs
) -> None:
    await admin.show(admin.context.pages[0], "/")
    both = [*admin.context.pages, await alone(admin)]
    for tab in both:
        await expect(clients(tab)).to_have_text(re.compile("[1-9]"))
    assert "ops.metrics" in asked_for(server)
    query = "UPDATE users SET role = 'user' WHERE id = $1"
    await server.app[POOL].execute(query, admin.user)
    for tab in both:
        told = tab.locator(".not-told")
        await expect(told).to_contain_text("Your account is not an admin’s.")
        await expect(clients(tab)).to_have_count(0)
        await expect(tab.locator(".person .tag")).to_have_count(0)
    await until(lambda: "ops.metrics" not in asked_for(server))
    admin.forgive("status of 403")
