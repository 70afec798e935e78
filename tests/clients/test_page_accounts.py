"""API keys, sessions, the password and signing in, on the dashboard in Chromium."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from argon2 import PasswordHasher
from playwright.async_api import Browser, Locator, Page, expect

from server.auth import sessions
from server.auth.attempts import ATTEMPTS, PER_ACCOUNT
from server.auth.sessions import COOKIE
from server.db.pool import Database
from server.keys import POOL
from tests.clean import reused
from tests.clients.tabs import Tabs, tabs
from tests.served import Served, served

__all__ = ["reused"]

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PASSWORD = "correct horse battery"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(reused: Database) -> AsyncIterator[Served]:
    """One for all tests here."""
    async with served(reused) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def admin(server: Served, browser: Browser) -> AsyncIterator[Tabs]:
    """One tab of an admin."""
    async with tabs(server, browser, "admin") as opened:
        await opened.open("/keys")
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stranger(server: Served, browser: Browser) -> AsyncIterator[Tabs]:
    """One tab of nobody."""
    async with tabs(server, browser, None) as opened:
        await opened.open("/sessions")
        yield opened


async def on(opened: Tabs, path: str) -> Page:
    """The one tab, on this page."""
    tab = opened.context.pages[0]
    await opened.show(tab, path)
    return tab


def entry(tab: Page, which: str, text: str = "") -> Locator:
    """An entry of a list."""
    found = tab.get_by_role("list", name=which).get_by_role("listitem")
    return found.filter(has_text=text) if text else found


async def press_twice(tab: Page, name: str) -> None:
    """A button that wants to be pressed again, by the keyboard."""
    await tab.get_by_role("button", name=name).press("Enter")
    await tab.get_by_role("button", name=f"Press again: {name}").press("Enter")


async def sign_up(tab: Page) -> str:
    """Make an account with the form that is there; its address."""
    email = f"{uuid.uuid4().hex}@example.com"
    await tab.get_by_role("button", name="Make one").click()
    await tab.get_by_label("Name", exact=True).fill("Ada")
    await tab.get_by_label("Email").fill(email)
    await tab.get_by_label("Password").fill(PASSWORD)
    await tab.get_by_role("button", name="Make an account").click()
    await expect(tab.locator(".person")).to_contain_text("Ada")
    return email


async def sign_in(tab: Page, email: str, password: str = PASSWORD) -> None:
    """Fill in the form and send it."""
    await tab.get_by_label("Email").fill(email)
    await tab.get_by_label("Password").fill(password)
    await tab.get_by_role("main").get_by_role("button", name="Sign in", exact=True).click()


async def status_with(server: Served, key: str) -> int:
    """What a server with this key is answered."""
    path = "/api/events?channel=public.orders"
    return (await server.get(path, Authorization=f"Bearer {key}"))[0].status


async def test_a_key_is_made_shown_once_used_and_deleted(server: Served, admin: Tabs) -> None:
    tab = await on(admin, "/keys")
    await expect(tab.get_by_text("No keys yet.")).to_be_visible()
    make = tab.get_by_role("button", name="Make the key")
    await make.click()
    name = tab.get_by_label("Name", exact=True)
    await expect(name).to_have_accessible_description(re.compile("At least 1 character"))
    await expect(name).to_be_focused()
    await name.fill("Orders <b>")
    await tab.get_by_role("textbox", name="Channels").fill("public.orders, not a channel!")
    await make.click()
    await expect(tab.get_by_role("textbox", name="Channels")).to_have_accessible_description(
        re.compile("“channel!” is not a channel")
    )
    await tab.get_by_role("textbox", name="Channels").fill("public.orders")
    await tab.get_by_label("It ends").select_option("On a day …")
    await tab.get_by_label("Day", exact=True).fill("2001-01-01")
    await make.click()
    day = tab.get_by_label("Day", exact=True)
    await expect(day).to_have_accessible_description(re.compile("must be in the future"))
    await tab.get_by_label("It ends").select_option("In 30 days")
    await make.click()

    made = tab.get_by_role("region", name="Copy the key of Orders <b>")
    key = await made.locator("code").first.inner_text()
    assert key.startswith("trk_")
    row = entry(tab, "API keys, newest first", "Orders <b>")
    await expect(row).to_contain_text(re.compile("publish.*read.*public.orders"))
    await expect(row).to_contain_text(re.compile(r"Last used\s*never"))
    assert await status_with(server, key) == 200
    await made.get_by_role("button", name="I have it").click()
    await expect(tab.get_by_text(key)).to_have_count(0)
    await press_twice(tab, "Delete Orders <b>")
    await expect(tab.get_by_text("No keys yet.")).to_be_visible()
    await expect(tab.get_by_role("heading", name="Keys", exact=True)).to_be_focused()
    assert await status_with(server, key) == 401
    admin.forgive("status of 400")


async def test_a_key_that_may_everything_can_be_made(admin: Tabs) -> None:
    tab = await on(admin, "/keys")
    await tab.get_by_label("Name", exact=True).fill("All")
    for box in await tab.get_by_role("checkbox").all():
        await box.check()
    await tab.get_by_role("button", name="Make the key").click()
    await expect(entry(tab, "API keys, newest first", "All").locator(".tags")).to_have_text(
        "notifypublishreaduploadswebhookspublic.>"
    )


async def test_signing_up_in_and_out(stranger: Tabs) -> None:
    tab = await on(stranger, "/sessions")
    await tab.get_by_role("button", name="Make one").click()
    for label, kind in (("Name", "name"), ("Email", "username"), ("Password", "new-password")):
        await expect(tab.get_by_label(label, exact=True)).to_have_attribute("autocomplete", kind)
    await tab.get_by_label("Name", exact=True).fill("Ada")
    await tab.get_by_label("Email").fill("ada")
    await tab.get_by_label("Password").fill("short")
    await tab.get_by_role("button", name="Make an account").click()
    email = tab.get_by_label("Email")
    await expect(email).to_have_accessible_description("This is not an email address")
    await expect(email).to_be_focused()
    await expect(tab.get_by_label("Password")).to_have_accessible_description(
        re.compile("At least 8 characters")
    )
    await tab.reload()
    address = await sign_up(tab)
    # The page that was asked for, without another step.
    await expect(tab.get_by_role("definition").filter(has_text=address)).to_be_visible()
    await tab.get_by_role("banner").get_by_role("button", name="Sign out").click()
    await expect(tab.get_by_role("link", name="Sign in")).to_be_visible()
    await tab.get_by_role("link", name="Sign in").click()
    await expect(tab.get_by_label("Email")).to_be_focused()
    await sign_in(tab, address, "wrong")
    await expect(tab.get_by_role("alert")).to_have_text("Invalid email or password.")
    await sign_in(tab, address)
    await expect(tab.locator(".person")).to_contain_text("Ada")
    assert tab.url.endswith("#/")
    stranger.forgive("status of 400", "status of 401")


async def test_who_guesses_too_often_is_told_how_long_to_wait(stranger: Tabs) -> None:
    email = "nobody@example.com"
    for _ in range(PER_ACCOUNT.count):
        stranger.server.app[ATTEMPTS].begin(email, "203.0.113.7")
    tab = await on(stranger, "/sign-in")
    await sign_in(tab, email)
    await expect(tab.get_by_role("alert")).to_contain_text("too many attempts to sign in")
    await expect(tab.get_by_text(re.compile(r"Try again in 15 min\."))).to_be_visible()
    stranger.forgive("status of 429")


async def test_a_session_is_ended_from_another_and_its_tab_asks_to_sign_in(
    server: Served, browser: Browser, admin: Tabs
) -> None:
    pool = server.app[POOL]
    tab = await on(admin, "/sessions")
    async with tabs(server, browser, None) as other:
        rows = entry(tab, "Sessions, this one first")
        await expect(rows).to_have_text([re.compile(r"Unknown device\s*this session")])
        for name in ("Sign out Firefox 128 on Linux at 203.0.113.7", "Sign out everywhere else"):
            agent = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
            token = await sessions.create(pool, admin.user, ip="203.0.113.7", user_agent=agent)
            cookie = {"name": COOKIE, "value": token, "url": server.url}
            await other.context.add_cookies([cookie])  # type: ignore[list-item]
            there = await other.open("/example")
            await expect(there.get_by_text("Nothing unread.", exact=True)).to_be_visible()
            # Nothing tells of sessions: who comes back to the tab sees what is.
            await tab.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
            await expect(rows).to_have_count(2)
            await press_twice(tab, name)
            await expect(rows).to_have_text([re.compile("this session")])
            await expect(there.get_by_text("For those who are signed in.")).to_be_visible()
            await expect(there.get_by_role("link", name="Sign in")).to_be_visible()
            await there.close()
        other.forgive("status of 401")
    assert await pool.fetchval("SELECT count(*) FROM sessions WHERE user_id = $1", admin.user) == 1


async def test_the_password_is_changed_and_the_other_sessions_end(
    server: Served, admin: Tabs
) -> None:
    pool = server.app[POOL]
    hashed = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    await pool.execute("UPDATE users SET password_hash = $2 WHERE id = $1", admin.user, hashed)
    await sessions.create(pool, admin.user, user_agent="curl/8.5.0")
    tab = await on(admin, "/overview")
    await admin.show(tab, "/sessions")
    rows = entry(tab, "Sessions, this one first")
    await expect(rows).to_have_text([re.compile("this session"), re.compile("^curl 8.5.0")])
    current, new = tab.get_by_label("Current password"), tab.get_by_label("New password")
    change = tab.get_by_role("button", name="Change password")
    await current.fill("wrong")
    await new.fill("a better password")
    await change.click()
    await expect(current).to_have_accessible_description("this is not your password")
    await current.fill(PASSWORD)
    await tab.get_by_role("checkbox", name="Sign out everywhere else").check()
    await change.click()
    await expect(tab.get_by_text("all other sessions have ended")).to_be_visible()
    await expect(rows).to_have_text([re.compile("this session")])
    stored = await pool.fetchval("SELECT password_hash FROM users WHERE id = $1", admin.user)
    assert stored != hashed
    admin.forgive("status of 400", "status of 401")
