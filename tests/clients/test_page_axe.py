"""axe-core over every page of the dashboard, with something on it; light, dark, narrow, wide. And
what it can't see: that nothing has to be scrolled sideways, and where the keyboard goes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from server.dashboard.page import STATIC
from server.db.pool import Database
from server.keys import POOL
from tests.clean import reused
from tests.clients.tabs import Tabs, tabs
from tests.served import Served, served

__all__ = ["reused"]

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

AXE = Path(__file__).parents[1] / "node" / "node_modules" / "axe-core" / "axe.min.js"
TITLES: dict[str, str] = dict(
    re.findall(r'path: "([^"]+)", title: "([^"]+)"', (STATIC / "pages" / "index.js").read_text())
)
_RUN = """async () => {
  const found = await axe.run(document, { resultTypes: ["violations"] });
  return found.violations.map(({ id, impact, nodes }) =>
    ({ id, impact, where: nodes.map((node) => `${node.target} ${node.failureSummary}`) }));
}"""
_BEYOND = "document.documentElement.scrollWidth - innerWidth"
_MAKE = """async () => {
  const key = { name: "Gauge", scopes: ["publish"], channels: ["public.>"] };
  const headers = { "Content-Type": "application/json" };
  const made = await fetch("/api/keys", { method: "POST", headers, body: JSON.stringify(key) });
  const picture = new OffscreenCanvas(40, 24);
  picture.getContext("2d");
  const form = new FormData();
  form.append("file", await picture.convertToBlob(), "weir.png");
  const sent = await fetch("/api/upload", { method: "POST", body: form });
  return [made.status, sent.status];
}"""
_FOCUSED = """() => {
  const on = document.activeElement;
  const { left, right, top, bottom } = on.getBoundingClientRect();
  const { outlineStyle, outlineWidth } = getComputedStyle(on);
  const inside = left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight;
  const hit = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
  return {
    what: (on.getAttribute("aria-label") || on.innerText || on.name || on.id).trim(),
    within: on.closest("nav, main, header")?.localName ?? "",
    visible: on.matches(":focus-visible") && inside && on.contains(hit) &&
      outlineStyle !== "none" && parseFloat(outlineWidth) >= 2,
  };
}"""
SHOWN: dict[str, str | re.Pattern[str]] = {
    "/": re.compile(r"Process \w+, pid \d+"),
    "/events": "public.weir",
    "/streams": "127.0.0.1",
    "/webhooks": "payout.paid",
    "/uploads": "weir.png",
    "/example": "It rises.",
    "/keys": "Gauge",
    "/sessions": "this session",
    "/sign-in": "Password",
}
"""What has to be on a page before it is looked at: it comes later than the page."""


class Look(NamedTuple):
    """How the page is looked at: at the last width by axe, at all for what is beyond the edge."""

    scheme: Literal["light", "dark"]
    widths: tuple[int, ...]


LOOKS = (Look("light", (768, 1280, 1600)), Look("dark", (390,)))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def opened(reused: Database, browser: Browser, node: str) -> AsyncIterator[Tabs]:
    """An admin's, of a server on which something has happened."""
    del node  # the check was installed with its clients
    async with served(reused) as server, tabs(server, browser, "admin") as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def page(opened: Tabs) -> Page:
    """One tab for all looks."""
    tab = await opened.open("/events")
    await _fill(opened.server, opened.user)
    assert await tab.evaluate(_MAKE) == [201, 200]
    await opened.server.live("public.weir")
    await tab.evaluate(AXE.read_text())
    return tab


async def _fill(server: Served, user: str) -> None:
    pool = server.app[POOL]
    await server.publish("public.weir", {"level": 2.4})
    await pool.execute(
        "INSERT INTO public.notifications (user_id, title, body) VALUES ($1, 'Rain', 'It rises.')",
        user,
    )
    await pool.execute(
        "INSERT INTO public.posts (title, content, author_id) VALUES ('Weir', 'Open.', $1)", user
    )
    await pool.execute(
        "INSERT INTO public.webhook_deliveries (source, message_id, type, body, headers)"
        " VALUES ('stripe', 'evt_1', 'payout.paid', '{}', '{}')"
    )


async def go(page: Page, path: str) -> None:
    """Another page of the dashboard, with what has to be on it."""
    await page.evaluate("path => { location.hash = path; }", path)
    await expect(page.get_by_role("heading", level=1)).to_have_text(TITLES[path])
    await expect(page.locator("main")).to_contain_text(SHOWN[path])


async def look_for_faults(page: Page, look: Look) -> None:
    """Fail if axe finds any, or the page can be scrolled sideways."""
    await page.emulate_media(color_scheme=look.scheme, reduced_motion="reduce")
    for width in look.widths:
        await page.set_viewport_size({"width": width, "height": 900})
        assert await page.evaluate(_BEYOND) <= 0, width
    found: list[dict[str, Any]] = await page.evaluate(_RUN)
    assert not found


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.scheme)
@pytest.mark.parametrize("path", TITLES)
async def test_no_page_has_a_fault(page: Page, path: str, look: Look) -> None:
    await go(page, path)
    await look_for_faults(page, look)


async def open_an_event(page: Page) -> None:
    await go(page, "/events")
    await page.locator("ol.rows .line").first.click()
    await expect(page.locator(".detail")).to_be_visible()


async def open_a_delivery(page: Page) -> None:
    await go(page, "/webhooks")
    await page.get_by_role("button", name="payout.paid").click()
    await expect(page.get_by_role("heading", name="payout.paid")).to_be_focused()


async def fill_in_wrongly(page: Page) -> None:
    await go(page, "/keys")
    channels = page.get_by_role("textbox", name="Channels")
    await channels.fill("not a channel!")
    await page.get_by_role("button", name="Make the key").click()
    await expect(channels).to_have_accessible_description(re.compile("is not a channel"))


async def sign_out(page: Page) -> None:
    await page.get_by_role("button", name="Sign out", exact=True).first.click()
    await page.evaluate("location.hash = '/keys'")
    await expect(page.locator("main .gate")).to_be_visible()
    await expect(page.get_by_role("main").get_by_label("Password")).to_be_visible()


async def test_the_keyboard_gets_past_the_navigation_and_through_it(opened: Tabs) -> None:
    page = await opened.open("/keys")
    await expect(page.locator("main")).to_contain_text("Make the key")
    stops: list[dict[str, Any]] = []
    while not stops or stops[-1]["within"] != "main":
        await page.keyboard.press("Tab")
        stops.append(await page.evaluate(_FOCUSED))
        assert stops[-1]["visible"], stops
    assert stops[0]["what"] == "Skip to the page"
    shown = [stop["what"] for stop in stops if stop["within"] == "nav"]
    assert shown == [title for path, title in TITLES.items() if path != "/sign-in"]

    await page.locator(".skip").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_be_focused()
    await page.keyboard.press("Tab")
    assert await page.evaluate(_FOCUSED) == stops[-1]
    await page.close()


# The last one leaves as a stranger.
@pytest.mark.parametrize("step", [open_an_event, open_a_delivery, fill_in_wrongly, sign_out])
async def test_what_opens_on_a_page_has_no_fault(
    page: Page, step: Callable[[Page], Awaitable[None]]
) -> None:
    await step(page)
    for look in LOOKS:
        await look_for_faults(page, look)
