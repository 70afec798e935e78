"""axe-core over every page of the dashboard, with something on it; light, dark, wide, narrow."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from server.dashboard.page import STATIC
from server.db.pool import Database
from server.keys import POOL
from tests.clean import reused
from tests.clients.tabs import tabs
from tests.served import Served, served

__all__ = ["reused"]

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

AXE = Path(__file__).parents[1] / "node" / "node_modules" / "axe-core" / "axe.min.js"
PATHS = re.findall(r'path: "([^"]+)"', (STATIC / "pages" / "index.js").read_text())
_RUN = """async () => {
  const found = await axe.run(document, { resultTypes: ["violations"] });
  return found.violations.map(({ id, impact, nodes }) =>
    ({ id, impact, where: nodes.map((node) => `${node.target} ${node.failureSummary}`) }));
}"""


SHOWN = {
    "/events": "public.weir",
    "/streams": "127.0.0.1",
    "/webhooks": "payout.paid",
    "/example": "It rises.",
    "/sign-in": "Password",
}
"""What has to be on a page before it is looked at, where that comes later than the page."""


class Look(NamedTuple):
    """How the page is looked at."""

    scheme: Literal["light", "dark"]
    width: int


LOOKS = (Look("light", 1280), Look("dark", 390))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def page(reused: Database, browser: Browser, node: str) -> AsyncIterator[Page]:
    """An admin's tab, of a server on which something has happened."""
    del node  # the check was installed with its clients
    async with served(reused) as server, tabs(server, browser, "admin") as opened:
        tab = await opened.open("/events")
        await _fill(server, opened.user)
        await server.live("public.weir")
        await tab.evaluate(AXE.read_text())
        yield tab


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


@pytest.mark.parametrize("look", LOOKS, ids=str)
@pytest.mark.parametrize("path", PATHS)
async def test_no_page_has_a_fault(page: Page, path: str, look: Look) -> None:
    await page.emulate_media(color_scheme=look.scheme, reduced_motion="reduce")
    await page.set_viewport_size({"width": look.width, "height": 900})
    await page.evaluate("path => { location.hash = path; }", path)
    # Its own module has been loaded, and has drawn what it was told.
    await expect(page.locator("main .card").first).to_be_visible()
    await expect(page.locator("main")).to_contain_text(SHOWN.get(path, ""))
    found: list[dict[str, Any]] = await page.evaluate(_RUN)
    assert not found
