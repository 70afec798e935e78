"""Uploads on the page, in two tabs of one Chromium."""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
import pytest_asyncio
from playwright.async_api import Browser, FilePayload, Locator, Page, expect

from server.db.pool import Database
from server.uploads.policies import MIB
from tests.clean import reused
from tests.clients.tabs import Tabs, tabs
from tests.served import Served, served
from tests.uploads import making

__all__ = ["reused"]

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

WIDTH = 400
PICTURE = making.encoded(making.picture(size=(WIDTH, 300)), "PNG")
SLOW = 60_000
"""Bytes a second: all of the picture would take longer than it takes to see its bar."""
_DROP = """([name, type, base64]) => {
  const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type }));
  return transfer;
}"""


class Both(NamedTuple):
    """Two tabs of one user."""

    one: Page
    two: Page
    all: Tabs


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(reused: Database) -> AsyncIterator[Served]:
    """One for all tests here."""
    async with served(reused) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def both(server: Served, browser: Browser) -> AsyncIterator[Both]:
    """A new user's, and both live."""
    async with tabs(server, browser) as opened:
        yield Both(await opened.open("/uploads"), await opened.open("/uploads"), opened)


def section(tab: Page) -> Locator:
    """What the page shows of uploads."""
    return tab.get_by_role("region", name="Uploads")


def picture(tab: Page, name: str) -> Locator:
    """A file of the gallery, as a picture."""
    return section(tab).get_by_role("link", name=name).locator("img")


async def drop(tab: Page, name: str, body: bytes) -> None:
    """Let a file fall into its place, as from the desktop."""
    given = [name, "image/png", base64.b64encode(body).decode()]
    transfer = await tab.evaluate_handle(_DROP, given)
    for kind in ("dragenter", "dragover", "drop"):
        await tab.locator(".drop").dispatch_event(kind, {"dataTransfer": transfer})


async def choose(tab: Page, *files: FilePayload) -> None:
    """Choose files by the button."""
    async with tab.expect_file_chooser() as chooser:
        await section(tab).get_by_role("button", name="choose files").press("Enter")
    await (await chooser.value).set_files(list(files))


@contextlib.asynccontextmanager
async def slowly(tab: Page, rate: int) -> AsyncIterator[None]:
    """Within, a tab sends so many bytes a second."""
    session = await tab.context.new_cdp_session(tab)
    limits = {"offline": False, "latency": 0, "downloadThroughput": -1}
    conditions = "Network.emulateNetworkConditions"
    await session.send(conditions, {**limits, "uploadThroughput": rate})
    yield
    await session.send(conditions, {**limits, "uploadThroughput": -1})


async def test_a_dropped_file_has_a_bar_in_the_other_tab_and_then_its_picture_in_both(
    both: Both,
) -> None:
    async with slowly(both.one, SLOW):
        await drop(both.one, "weir.png", PICTURE)
        for tab in (both.two, both.one):
            bar = section(tab).get_by_role("progressbar", name="weir.png")
            await expect(bar).to_be_visible()
        await expect(section(both.two).locator(".run")).to_contain_text(re.compile("[1-9] % of"))
        await expect(section(both.two).locator(".gallery")).to_have_count(0)
    for tab in (both.two, both.one):
        await expect(picture(tab, "weir.png")).to_have_js_property("naturalWidth", WIDTH)
        await expect(section(tab).get_by_role("progressbar")).to_have_count(0)
    # And for who comes later, by the list.
    await both.two.reload()
    await expect(picture(both.two, "weir.png")).to_have_js_property("naturalWidth", WIDTH)


async def test_several_files_go_each_by_its_policy_and_a_refused_one_tells_why(both: Both) -> None:
    markup = "<img src=x onerror=alert(1)>.png"
    await choose(
        both.one,
        {"name": "prices.csv", "mimeType": "text/csv", "buffer": b"a,b\n1,2\n"},
        {"name": markup, "mimeType": "image/png", "buffer": making.HTML},
        {"name": "huge.png", "mimeType": "image/png", "buffer": bytes(5 * MIB + 1)},
        {"name": "weir.png", "mimeType": "image/png", "buffer": PICTURE},
    )
    refused = section(both.one).get_by_role("list", name="Not uploaded").get_by_role("listitem")
    await expect(refused).to_have_count(2)
    await expect(refused.nth(0)).to_contain_text(f"{markup} Invalid file type")
    await expect(refused.nth(1)).to_contain_text("File too large: at most 5 MB")
    failed = section(both.two).get_by_role("list", name="Under way").filter(has_text=markup)
    await expect(failed).to_contain_text("Failed")
    for tab in (both.one, both.two):
        await expect(section(tab).locator(".file")).to_have_text(
            [re.compile("^weir.png"), re.compile("^csvprices.csv8 B · private")]
        )
    # The browser itself tells the console of the 400.
    both.all.forgive("status of 400")


async def test_what_is_deleted_in_one_tab_goes_from_the_other(both: Both) -> None:
    await choose(both.one, {"name": "weir.png", "mimeType": "image/png", "buffer": PICTURE})
    await expect(picture(both.two, "weir.png")).to_be_visible()
    await section(both.two).get_by_role("button", name="Delete weir.png").press("Enter")
    await section(both.two).get_by_role("button", name="Press again").press("Enter")
    for tab in (both.two, both.one):
        await expect(section(tab).locator(".file")).to_have_count(0)
        await expect(tab.get_by_text("Nothing here yet.")).to_be_visible()
    await both.one.reload()
    await expect(both.one.get_by_text("Nothing here yet.")).to_be_visible()
