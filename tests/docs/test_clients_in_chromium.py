"""docs/clients.md, done as it says in a page: our client, state first, plain EventSource."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from server.db.pool import Database
from server.keys import POOL
from tests.docs.blocks import blocks, scripts_of
from tests.served import Served, served

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PAGE = "clients.md"
CALLBACKS = """
  window.told = [];
  for (const name of ["show", "badge", "loadEverything"])
    window[name] = (...values) => told.push([name, ...values]);"""
"""What the page leaves to its reader."""
IMPORT = 'import { connect } from "/client.js";\n'


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site(reused: Database) -> AsyncIterator[Served]:
    """A server for all tests here."""
    async with served(reused) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tab(site: Served, browser: Browser) -> AsyncIterator[Page]:
    """One tab for all tests here."""
    context = await browser.new_context()
    context.set_default_timeout(20_000)
    thrown: list[str] = []
    context.on("weberror", lambda fault: thrown.append(str(fault.error)))
    await context.add_init_script(CALLBACKS)
    yield await context.new_page()
    await context.close()
    assert not thrown


async def run(tab: Page, site: Served, program: str, ready: str) -> None:
    """A program in a page of the server, until this holds."""
    await tab.goto(f"{site.url}/healthz")
    await tab.add_script_tag(content=program, type="module")
    await tab.wait_for_function(ready)


def program(start: str) -> str:
    """The block of the page that begins with this."""
    (found,) = (code for code in blocks(PAGE, "js", "In the browser") if code.startswith(start))
    return found


async def test_our_client_shows_events_and_tells_how_it_stands(tab: Page, site: Served) -> None:
    (html,) = blocks(PAGE, "html", "In the browser")
    (code,) = scripts_of(html)
    await run(tab, site, code, "told.some(([name, value]) => name === 'badge' && value === 'live')")
    await site.publish("public.orders.tea", {"n": 1}, type="order.created")
    await tab.wait_for_function("told.at(-1)[0] === 'show'")
    shown = ["show", "public.orders.tea", "order.created", None, {"n": 1}]
    assert (await tab.evaluate("told.at(-1)")) == shown


async def test_the_state_comes_first_and_then_the_stream_keeps_it(tab: Page, site: Served) -> None:
    pool = site.app[POOL]

    async def write(title: str) -> str:
        """A post of somebody's."""
        query = "INSERT INTO posts (author_id, title, content) VALUES ($1, $2, $2) RETURNING id"
        return str(await pool.fetchval(query, author, title))

    author, _ = await site.sign_in()
    changed, gone = await write("One"), await write("Two")
    code = IMPORT + program("const answer") + "Object.assign(window, { posts, stream });"
    # Opened at the list's position: what is committed before it is live comes all the same.
    await run(tab, site, code, "window.posts")
    await pool.execute("UPDATE posts SET title = 'Changed' WHERE id::text = $1", changed)
    await pool.execute("DELETE FROM posts WHERE id::text = $1", gone)
    new = await write("Three")
    await tab.wait_for_function("id => posts.has(id)", arg=new)
    found: dict[str, Any] = dict(await tab.evaluate("[...posts]"))
    assert {key: post["title"] for key, post in found.items()} == {changed: "Changed", new: "Three"}


async def test_a_plain_event_source_shows_events(tab: Page, site: Served) -> None:
    code = program("const source") + "window.source = source;"
    await run(tab, site, code, "window.source?.readyState === EventSource.OPEN")
    before = await tab.evaluate("told.length")
    await site.publish("public.orders", {"n": 2})
    await tab.wait_for_function("before => told.length > before", arg=before)
    (_, event, position), *more = await tab.evaluate("told")
    assert (event["channel"], event["data"], more) == ("public.orders", {"n": 2}, [])
    assert int(position.partition(".")[2]) == await site.app[POOL].fetchval(
        "SELECT pos FROM tailrace.head"
    )
