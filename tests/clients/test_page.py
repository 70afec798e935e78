"""The live page in Chromium, against the real server with its demo."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import ConsoleMessage, Locator, Page, expect

from server.db.pool import Database
from server.webhooks.providers.stripe import STRIPE
from tests.clients.conftest import Serve
from tests.clients.served import API_KEY, SECRET, Served
from tests.process import ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

Complaints = list[str]
_VIOLATIONS = """document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`))"""
OWN = 1
"""The stream of the page itself: one, whatever it listens to."""
STRIPE_SECRET = "whsec_0123456789abcdef0123456789"
SOME = re.compile(r" to (0\.)?[1-9]")
"""In words: at most so many, which is more than none."""
NUMBER = re.compile(r"^[\d.]+$")
LATENCY = re.compile(r"median now [\d.]+ ms")
DRAWN = """canvas => canvas.getContext("2d")
  .getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean)"""


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
    async def visit(
        *, demo: bool = True, path: str = "/#/events", **settings: str
    ) -> AsyncIterator[Served]:
        served = await serve(demo=demo, **settings)
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


def figure(page: Page, label: str) -> Locator:
    """What the overview shows under a label."""
    return page.locator(".tile").filter(has_text=label)


def tile(page: Page, label: str) -> Locator:
    """The number under a label."""
    return figure(page, label).locator(".value")


def sign_in_link(served: Served) -> str:
    """The path of the link that the server printed."""
    found = re.search(r"(/demo\?token=\S+)", served.output)
    assert found is not None, served.output
    return found[1]


async def test_the_overview_follows_what_happens_in_all_processes_and_in_one(
    visit: Visit, page: Page, place: Path, database: Database
) -> None:
    directory = place / "other"
    directory.mkdir()
    settings = {"DATABASE_URL": database.url, "TAILRACE_SECRET": SECRET, "TAILRACE_POOL_SIZE": "2"}
    with ServerProcess(directory, "--no-demo", **settings) as other:
        async with visit(path="/", STRIPE_WEBHOOK_SECRET=STRIPE_SECRET) as served:
            url = await asyncio.to_thread(lambda: other.url)
            chooser = page.get_by_role("combobox", name="Process")
            clients = tile(page, "Connected clients")
            async with listening(url, 3), uploading(served.url):
                await deliver(served.url, 20)
                await expect(clients).to_have_text(f"{OWN + 3}")
                await expect(page.locator(".processes tbody tr")).to_have_count(2)
                for label in ("Events per second", "Deliveries per second"):
                    await expect(figure(page, label)).to_contain_text(SOME)
                await expect(tile(page, "Events per second")).to_have_text(NUMBER)
                await expect(tile(page, "Lagging clients")).to_have_text("0")
                await expect(tile(page, "Memory")).to_have_text(re.compile(r"^[\d.]+ MB$"))
                await expect(tile(page, "Uploads")).to_have_text("1")
                received = re.compile(r"bytes received, .* to [\d.]+ KB/s")
                await expect(figure(page, "Uploads")).to_contain_text(received)
                await expect(figure(page, "Latency")).to_contain_text(LATENCY)
                webhooks = figure(page, "Webhooks per second")
                for state in ("accepted", "unhandled"):
                    text = re.compile(rf"{state} now [^;]*{SOME.pattern}")
                    await expect(webhooks).to_contain_text(text)
                await expect(webhooks.locator(".legend")).to_contain_text("unhandled")
                await expect(webhooks.locator(".legend")).not_to_contain_text("dead")
                # In words it is for who does not see the plot; here for who does.
                assert await webhooks.locator("canvas").evaluate(DRAWN)
                options = await chooser.locator("option").all_inner_texts()
                assert options[0] == "All (2)"
                (label,) = (text for text in options if text.endswith(f"pid {other.pid}"))
                await chooser.select_option(label=label)
                await expect(clients).to_have_text("3")
                name = label.partition(",")[0]
                await expect(page.locator(".about")).to_contain_text(f"Process {name}, pid")
                assert page.url.endswith(f"#/?process={name}")
                await page.get_by_role("button", name=name).press("Enter")
                await expect(clients).to_have_text(f"{OWN + 3}")
            await expect(clients).to_have_text(f"{OWN}")


@contextlib.asynccontextmanager
async def listening(url: str, number: int) -> AsyncIterator[None]:
    """So many clients that hear the demo."""
    async with aiohttp.ClientSession(url) as client, contextlib.AsyncExitStack() as stack:
        for _ in range(number):
            stream = client.get("/api/stream", params={"channel": "public.demo"})
            await stack.enter_async_context(stream)
        yield


@contextlib.asynccontextmanager
async def uploading(url: str) -> AsyncIterator[None]:
    """An upload that has begun, and does not end within."""
    where = urlsplit(url)
    _, writer = await asyncio.open_connection(where.hostname, where.port)
    headers = (
        "POST /api/upload?policy=documents HTTP/1.1",
        f"Host: {where.netloc}",
        f"Authorization: Bearer {API_KEY}",
        "Content-Type: multipart/form-data; boundary=b",
        "Content-Length: 1000000",
    )
    part = 'Content-Disposition: form-data; name="file"; filename="a.csv"'
    text = "\r\n".join((*headers, "", "--b", part, "Content-Type: text/csv", "", ""))
    writer.write(text.encode() + b"1,2\n" * 25_000)
    yield
    writer.transport.abort()


async def deliver(url: str, number: int) -> None:
    """Deliveries of a type that nothing is done with."""
    async with aiohttp.ClientSession(url) as client:
        for count in range(number):
            event = {"id": f"evt_{count}", "object": "event", "type": "plan.created", "data": {}}
            body = json.dumps(event | {"data": {"object": {}}}).encode()
            headers = STRIPE.scheme.sign(body, STRIPE_SECRET, message_id="", at=time.time())
            headers["Content-Type"] = "application/json"
            async with client.post(STRIPE.path, data=body, headers=headers) as answer:
                assert answer.status == 200


async def test_the_printed_link_signs_in_the_form_publishes_and_the_bell_follows(
    visit: Visit, page: Page
) -> None:
    async with visit() as served:
        await expect(row(page, "public.demo", "measurement").first).to_be_visible()
        await expect(page.get_by_role("link", name="Sign in")).to_be_visible()
        await page.goto(f"{served.proxy.url}{sign_in_link(served)}")
        assert page.url == f"{served.proxy.url}/"
        await expect(page.locator(".person")).to_contain_text("Demo")
        await page.get_by_role("link", name="Events").click()
        await page.get_by_label("Type").fill("from-the-form")
        await page.get_by_label("Data (JSON)").fill('{"big": 12345678901234567890}')
        await page.get_by_role("button", name="Publish", exact=True).click()
        await expect(row(page, "from-the-form", "12345678901234567890")).to_be_visible()
        await expect(page.locator(".result")).to_contain_text("back here after")
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
