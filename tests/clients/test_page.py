"""The live page in Chromium, against the real server with its demo."""

from __future__ import annotations

import contextlib
import json
import re
import signal
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import ConsoleMessage, Locator, Page, expect

from tests.clients.conftest import Serve
from tests.clients.served import API_KEY, Served

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

Complaints = list[str]
_VIOLATIONS = """document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`))"""
AWAY = "net::ERR_"


@pytest_asyncio.fixture(loop_scope="session")
async def complaints(page: Page) -> AsyncIterator[Complaints]:
    """What the browser complains of; at the end it must be nothing."""
    found: Complaints = []

    def listen(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            found.append(f"{message.type}: {message.text} {message.location}")

    await page.add_init_script(_VIOLATIONS)
    page.on("console", listen)
    page.on("pageerror", lambda error: found.append(str(error)))
    page.set_default_timeout(20_000)
    expect.set_options(timeout=20_000)
    yield found
    assert not found


Visit = Callable[..., contextlib.AbstractAsyncContextManager[Served]]


@pytest.fixture
def visit(serve: Serve, page: Page, complaints: Complaints) -> Visit:
    """Starts the server and opens its page; the page is left before the server ends."""

    @contextlib.asynccontextmanager
    async def visit(*, demo: bool = True, path: str = "/") -> AsyncIterator[Served]:
        served = await serve(demo=demo)
        await page.goto(f"{served.proxy.url}{path}")
        await expect(pill(page)).to_have_text("Live")
        yield served
        await page.goto("about:blank")

    return visit


def pill(page: Page) -> Locator:
    """The state of the connection."""
    return page.locator("header .pill")


def row(page: Page, *texts: str) -> Locator:
    """The event that shows all of these."""
    found = page.locator("ol.rows > li")
    for text in texts:
        found = found.filter(has_text=text)
    return found


def tile(page: Page, label: str) -> Locator:
    """The number under a label."""
    return page.locator(".tile").filter(has_text=label).locator(".value")


def sign_in_link(served: Served) -> str:
    """The path of the link that the server printed."""
    found = re.search(r"(/demo\?token=\S+)", served.output)
    assert found is not None, served.output
    return found[1]


async def test_a_committed_row_appears_and_what_it_holds_stays_text(
    visit: Visit, page: Page
) -> None:
    async with visit() as served:
        await served.sql.execute("CREATE TABLE orders (id int PRIMARY KEY, item text)")
        await served.sql.execute("SELECT tailrace.watch('orders', channel => 'public.orders')")
        await served.sql.execute("INSERT INTO orders VALUES (7, 'a lamp')")
        await expect(row(page, "public.orders", "insert", "a lamp")).to_be_visible()
        await expect(row(page, "public.demo", "measurement").first).to_be_visible()
        markup = "<img src=x onerror=alert(1)><script>alert(2)</script>"
        await served.sql.execute(
            "SELECT tailrace.publish('public.evil', $1, $2::jsonb, $1)", markup, json.dumps(markup)
        )
        await row(page, "public.evil").get_by_role("button").click()
        await expect(page.locator(".detail pre")).to_contain_text(markup)
        assert await page.locator("#app img, #app script").count() == 0


async def test_it_counts_the_connected_clients(visit: Visit, page: Page) -> None:
    async with visit() as served:
        await expect(tile(page, "Connected clients")).to_have_text("1")
        async with (
            aiohttp.ClientSession(served.url) as client,
            contextlib.AsyncExitStack() as open_,
        ):
            for _ in range(3):
                stream = client.get("/api/stream", params={"channel": "public.a"})
                await open_.enter_async_context(stream)
            await expect(tile(page, "Connected clients")).to_have_text("4")
        await expect(tile(page, "Connected clients")).to_have_text("1")


async def test_the_printed_link_signs_in_and_the_form_publishes(visit: Visit, page: Page) -> None:
    async with visit() as served:
        await expect(page.get_by_text("Not signed in")).to_be_visible()
        await page.goto(f"{served.proxy.url}{sign_in_link(served)}")
        assert page.url == f"{served.proxy.url}/"
        await expect(page.locator(".person")).to_contain_text("Demo")
        await expect(pill(page)).to_have_text("Live")
        await page.get_by_label("Type").fill("from-the-form")
        await page.get_by_label("Data (JSON)").fill('{"big": 12345678901234567890}')
        await page.get_by_role("button", name="Publish", exact=True).click()
        await expect(row(page, "from-the-form", "12345678901234567890")).to_be_visible()
        await expect(page.locator(".result")).to_contain_text("back here after")


async def test_the_bell_follows_the_table(visit: Visit, page: Page) -> None:
    async with visit() as served:
        await page.goto(f"{served.proxy.url}{sign_in_link(served)}")
        bell = page.get_by_role("button", name="Notifications")
        await expect(bell).to_have_accessible_name("Notifications: 2 unread")
        await served.sql.execute(
            "INSERT INTO notifications (user_id, title, body)"
            " SELECT id, 'A third one', '' FROM users WHERE email = 'demo@tailrace.local'"
        )
        await expect(bell).to_have_accessible_name("Notifications: 3 unread")
        await bell.click()
        await expect(page.locator("#notices")).to_contain_text("A third one")
        await served.sql.execute("UPDATE notifications SET read_at = now()")
        await expect(bell).to_have_accessible_name("Notifications: 0 unread")


async def test_it_comes_back_after_a_restart(
    visit: Visit, page: Page, complaints: Complaints
) -> None:
    async with visit() as served:
        await expect(row(page, "public.demo").first).to_be_visible()
        await served.end(signal.SIGKILL)
        await expect(pill(page)).to_have_text("Reconnecting")
        await served.publish(1)
        await served.start()
        await expect(pill(page)).to_have_text("Live")
        await expect(row(page, "public.numbers", '"n": 1')).to_have_count(1)
        assert await page.locator("li.gap").count() == 0
    # The browser itself tells the console of each connection that it could not have.
    complaints[:] = [text for text in complaints if AWAY not in text]


async def test_a_stranger_needs_a_key_to_publish(
    visit: Visit, page: Page, complaints: Complaints
) -> None:
    async with visit(demo=False):
        await expect(tile(page, "Connected clients")).to_have_text("–")
        await page.get_by_role("button", name="Publish", exact=True).click()
        await expect(page.locator(".result")).to_contain_text("Unauthorized")
        await page.get_by_label("API key").fill(API_KEY)
        await page.get_by_role("button", name="Publish", exact=True).click()
        await expect(row(page, "public.hello", "greeting")).to_be_visible()
    # The browser itself tells the console of the 401.
    complaints[:] = [text for text in complaints if "status of 401" not in text]


async def test_channels_can_be_chosen_and_stand_in_the_address(visit: Visit, page: Page) -> None:
    async with visit(path="/#channels=public.numbers") as served:
        await served.publish_on("public.others", {"n": 0})
        await served.publish(1)
        await expect(row(page, "public.numbers")).to_have_count(1)
        await expect(page.locator("ol.rows > li")).to_have_count(1)
        await page.get_by_label("Channels").fill("public.others, public.*")
        await page.get_by_role("button", name="Subscribe").click()
        await expect(pill(page)).to_have_text("Live")
        await served.publish_on("public.others", {"n": 1})
        await expect(row(page, "public.others", '"n": 1')).to_be_visible()
        assert page.url.endswith("#channels=public.others%2Cpublic.*")
