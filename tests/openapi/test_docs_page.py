"""`/docs` in Chromium: everything in the document is on it, and nothing else is needed for it."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, Request

from server.db.pool import Database
from tests.served import Served, served

# In the loop of the session, as the browser is.
pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

_VIOLATIONS = """document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`))"""
BYTES = "application/offset+octet-stream"
"""A body of which there is no more to tell."""
_WIDER = """() => document.documentElement.scrollWidth - document.documentElement.clientWidth"""


class Visit(NamedTuple):
    """The page, what it complained of, and what it asked for."""

    page: Page
    complaints: list[str]
    requests: list[str]


@pytest_asyncio.fixture(loop_scope="session")
async def server(clean: Database) -> AsyncIterator[Served]:
    """As the others' here, in the loop of the browser."""
    async with served(clean) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Browser, server: Served) -> AsyncIterator[Visit]:
    """The docs page, open."""
    page = await browser.new_page()
    found = Visit(page, [], [])

    def listen(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            found.complaints.append(f"{message.type}: {message.text}")

    def note(request: Request) -> None:
        found.requests.append(request.url)

    await page.add_init_script(_VIOLATIONS)
    page.on("console", listen)
    page.on("pageerror", lambda error: found.complaints.append(str(error)))
    page.on("request", note)
    await page.goto(f"{server.url}/docs")
    await page.locator("article.operation").first.wait_for()
    yield found
    await page.close()


async def document(server: Served) -> dict[str, Any]:
    _, body = await server.get("/openapi.json")
    assert isinstance(body, dict)
    return body


async def test_the_page_shows_every_operation_and_asks_nobody_else(
    visit: Visit, server: Served
) -> None:
    page = visit.page
    api = await document(server)
    for path, methods in api["paths"].items():
        for method, item in methods.items():
            if method == "head":
                continue
            card = page.locator(f"article#{item['operationId']}")
            text = await card.inner_text()
            assert path in text
            assert item["summary"] in text
            names = [parameter["name"] for parameter in item.get("parameters", ())]
            missing = [name for name in [*names, *item["responses"]] if name not in text]
            assert missing == [], f"{method} {path}"
            assert f"{server.url}{path.partition('{')[0]}" in await card.locator("pre").inner_text()
            fields = await card.locator(".fields").count()
            bodies = set(item.get("requestBody", {}).get("content", ()))
            assert [media for media in bodies if media not in text] == [], f"{method} {path}"
            assert fields or bodies <= {BYTES}, f"the body of {method} {path}"
    for item in api["x-events"]:
        name = f"{item['channel']} {item['name']}"
        assert await page.locator(f'article[data-event="{name}"] .fields').count()
    assert visit.complaints == []
    assert {url for url in visit.requests if not url.startswith(server.url)} == set()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_can_be_read_on_a_telephone(
    visit: Visit, scheme: Literal["light", "dark"]
) -> None:
    page = visit.page
    await page.emulate_media(color_scheme=scheme)
    for width in (390, 1280):
        await page.set_viewport_size({"width": width, "height": 900})
        assert await page.evaluate(_WIDER) <= 0
        if pictures := os.environ.get("DOCS_PICTURES"):
            path = Path(pictures) / f"docs-{scheme}-{width}.png"
            await page.screenshot(path=path, full_page=width == 390)


async def test_a_curl_line_of_the_page_does_what_it_says(visit: Visit, server: Served) -> None:
    line = await visit.page.locator("article#postEvents pre").inner_text()
    body = json.loads(line.split(" -d '", 1)[1].split("' '", 1)[0])
    headers = {"Authorization": f"Bearer {'k' * 32}"}
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"{server.url}/api/events", json=body, headers=headers) as answer,
    ):
        assert answer.status == 200, await answer.text()
