"""Webhooks on the page: what providers deliver, as an admin sees and handles it in Chromium."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect

from server.db.pool import Database
from server.keys import POOL
from tests.clean import RESET, reused
from tests.clients.tabs import Tabs, tabs
from tests.served import Served, served
from tests.webhooks.sending import by_standard

__all__ = ["reused"]

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

KEY = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
DODO = "/api/payments/dodo/webhook"
MARKUP = '<img src="x" onerror="document.title=1">'
# Every change of a user fails, as long as there is this trigger.
FREEZE = """
    CREATE FUNCTION public.frozen() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN RAISE EXCEPTION 'the account is frozen'; END $$;
    CREATE TRIGGER frozen BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION public.frozen()"""
THAW = "DROP TRIGGER frozen ON users; DROP FUNCTION public.frozen"
FLOOD = """
    INSERT INTO public.webhook_deliveries (source, message_id, type, headers, body, state)
    SELECT 'stripe', 'flood_' || n, 'flood.' || n, '{}', '{}', 'done'
    FROM generate_series(1, 600) AS n"""


class Console:
    """The page of one admin, and the senders."""

    def __init__(self, server: Served, opened: Tabs, tab: Page, client: httpx.AsyncClient) -> None:
        self.server = server
        self.tabs = opened
        self.tab = tab
        self.client = client
        self.rows = tab.get_by_role("list", name="Deliveries, newest first").get_by_role("button")
        self.one = tab.locator("section.one")
        self.states = tab.get_by_role("group", name="Only these states")

    async def show(self, path: str = "/webhooks") -> None:
        """The page, with the focus nowhere in it."""
        await self.tab.get_by_role("heading", level=1).click()
        await self.tabs.show(self.tab, path)

    async def pay(
        self, payment: str, user: str, *, type_: str = "payment.succeeded", note: str = ""
    ) -> str:
        """A payment of 10 credits comes from Dodo; the delivery's id."""
        data = {"payment_id": payment, "customer": {"customer_id": f"cus_{payment}"}}
        metadata = {"user_id": user, "credits": "10", "note": note}
        return await self.deliver({"type": type_, "data": {**data, "metadata": metadata}})

    async def deliver(self, body: Any, path: str = DODO, key: str = KEY) -> str:
        """Over the door, signed."""
        text = json.dumps(body).encode()
        answer = await self.client.post(path, content=text, headers=by_standard(key, text))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def row(self, delivery: str) -> Locator:
        """Its line in the list."""
        return self.tab.locator(f'button[data-id="{delivery}"]')

    def card(self, name: str) -> Locator:
        """A source's."""
        heading = self.tab.get_by_role("heading", name=name, exact=True)
        return self.tab.locator(".source-card").filter(has=heading)

    async def credits(self, user: str) -> int:
        query = "SELECT credits_total FROM users WHERE id = $1"
        return int(await self.server.app[POOL].fetchval(query, user))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def console(reused: Database, browser: Browser) -> AsyncIterator[Console]:
    """One server and one tab for all tests here."""
    connection = await asyncpg.connect(reused.url)
    await connection.execute(RESET)
    await connection.close()
    async with (
        served(reused, dodo_payments_webhook_key=KEY, limits="off") as server,
        tabs(server, browser, "admin") as opened,
        httpx.AsyncClient(base_url=server.url, verify=False, timeout=20) as client,
    ):
        yield Console(server, opened, await opened.open("/webhooks"), client)


async def test_an_empty_page_says_how_to_connect_and_then_a_delivery_comes_live(
    console: Console,
) -> None:
    # Tests before it may have had some.
    await console.server.app[POOL].execute("TRUNCATE public.webhook_deliveries CASCADE")
    await console.tab.reload()
    await console.show()
    doors = console.tab.get_by_role("list", name="Doors").get_by_role("listitem")
    await expect(doors.nth(0)).to_contain_text("DODO_PAYMENTS_WEBHOOK_KEY is set")
    await expect(doors.nth(1)).to_contain_text(f"{console.server.url}/api/payments/stripe/webhook")
    await expect(doors.nth(1)).to_contain_text("Set STRIPE_WEBHOOK_SECRET")
    await expect(console.tab.locator(".connect")).to_contain_text("webhooks send dodo")
    user, _ = await console.server.sign_in()
    delivery = await console.pay("live", user)
    await expect(console.row(delivery)).to_contain_text(
        re.compile("Done.*payment.succeeded.*dodo.*cus_live")
    )
    await expect(console.states.get_by_role("button", name=re.compile("^Done 1"))).to_be_visible()
    assert await console.credits(user) == 10


async def test_what_matched_nobody_is_read_and_retried_from_the_page(console: Console) -> None:
    delivery = await console.pay("lost", "lost-user", note=MARKUP)
    await expect(console.row(delivery)).to_contain_text("Unmatched")
    await console.row(delivery).press("Enter")
    await expect(console.one.get_by_role("heading", name="payment.succeeded")).to_be_focused()
    await expect(console.one.locator(".verdict")).to_contain_text("there is no user lost-user")
    payload = console.one.get_by_role("group", name="Payload", exact=True)
    await expect(payload).to_contain_text(MARKUP.replace('"', '\\"'))
    await expect(payload.locator("img")).to_have_count(0)
    await console.one.get_by_role("button", name="As sent").click()
    await expect(payload).to_have_text(re.compile(r'^\{"type": "payment.succeeded", "data": \{'))
    await expect(console.one.get_by_text("webhook-signature")).to_be_visible()
    await console.server.app[POOL].execute(
        "INSERT INTO users (id, name, email) VALUES ('lost-user', 'L', 'lost@x')"
    )
    await console.one.get_by_role("button", name="Retry").press("Enter")
    await expect(console.one.locator(".head .state")).to_have_text("Done")
    await expect(console.row(delivery)).to_contain_text("Done")
    attempts = console.one.get_by_role("list", name="Attempts").get_by_role("listitem")
    await expect(attempts).to_have_text([re.compile("^Done"), re.compile("^Unmatched")])
    assert await console.credits("lost-user") == 10
    await console.tab.keyboard.press("Escape")
    await expect(console.one).to_have_count(0)
    await expect(console.row(delivery)).to_be_focused()


async def test_one_that_fails_shows_its_attempts_and_can_be_tried_at_once(console: Console) -> None:
    user, _ = await console.server.sign_in()
    pool = console.server.app[POOL]
    await console.show()
    await pool.execute(FREEZE)
    delivery = await console.pay("frozen", user)
    await expect(console.row(delivery)).to_contain_text(re.compile(r"Retrying.*next due \d\d:"))
    await console.row(delivery).click()
    failed = console.one.get_by_role("list", name="Attempts").get_by_text("the account is frozen")
    await expect(failed.first).to_be_visible()
    # Far away, so that only the button can have made it due.
    await pool.execute(
        "UPDATE webhook_deliveries SET due_at = now() + interval '1 day' WHERE id = $1", delivery
    )
    await pool.execute(THAW)
    await console.one.get_by_role("button", name="Try now").click()
    await expect(console.one.locator(".head .state")).to_have_text("Done")
    await expect(console.tab.get_by_role("status").filter(has_text="is now done")).to_have_count(1)
    assert await console.credits(user) == 10
    await console.one.get_by_role("button", name="Close the delivery").click()


async def test_a_filter_stands_in_the_address_and_holds_for_what_comes(console: Console) -> None:
    await console.show()
    wanted = await console.pay("f1", "nobody-1", note="needle")
    other = await console.deliver({"type": "license_key.created", "data": {}})
    await expect(console.row(other)).to_contain_text("Unhandled")
    await console.states.get_by_role("button", name="Unmatched").click()
    await expect(console.rows).to_have_count(1)
    await expect(console.row(wanted)).to_be_visible()
    await expect(console.tab).to_have_url(re.compile(r"#/webhooks\?state=unmatched$"))
    live = await console.pay("f2", "nobody-2")
    await expect(console.row(live)).to_be_visible()
    await console.deliver({"type": "license_key.created", "data": {"n": 2}})
    await expect(console.rows).to_have_count(2)
    await console.tab.get_by_label("Text in the payload").fill("needle")
    await console.tab.get_by_label("Text in the payload").press("Enter")
    await expect(console.rows).to_have_count(1)
    await console.pay("f3", "nobody-3", note="needle")
    await console.tab.get_by_role("button", name="Search again").click()
    await expect(console.rows).to_have_count(2)
    await console.tab.reload()
    await expect(console.rows).to_have_count(2)
    await console.tab.get_by_role("button", name="Clear").click()
    await expect(console.row(other)).to_be_visible()


async def test_many_are_retried_after_they_were_counted(console: Console) -> None:
    await console.show()
    delivery = await console.pay("many", "many-user")
    await expect(console.row(delivery)).to_contain_text("Unmatched")
    await console.server.app[POOL].execute(
        "INSERT INTO users (id, name, email) VALUES ('many-user', 'M', 'many@x')"
    )
    await console.show("/webhooks?key=cus_many")
    await expect(console.rows).to_have_count(1)
    await console.tab.get_by_role("button", name="Retry many").click()
    dialog = console.tab.get_by_role("dialog")
    await expect(dialog).to_contain_text("1 delivery.")
    assert await console.credits("many-user") == 0
    await dialog.get_by_role("button", name="Retry 1").press("Enter")
    await expect(dialog).to_contain_text("1 delivery is pending again")
    await expect(dialog.get_by_role("button", name="Close")).to_be_focused()
    await console.tab.keyboard.press("Escape")
    await expect(console.row(delivery)).to_contain_text("Done")
    assert await console.credits("many-user") == 10


async def test_a_source_is_paused_and_goes_on(console: Console) -> None:
    user, _ = await console.server.sign_in()
    await console.show("/webhooks?view=sources")
    await console.card("dodo").get_by_role("button", name="Pause dodo").press("Enter")
    await expect(console.card("dodo").get_by_text("Paused")).to_be_visible()
    await expect(console.card("dodo").get_by_role("button", name="Resume dodo")).to_be_focused()
    delivery = await console.pay("paused", user)
    await console.show()
    await expect(console.tab.locator(".notice")).to_contain_text("dodo is paused")
    await expect(console.row(delivery)).to_contain_text("Pending")
    await console.show("/webhooks?view=sources")
    await console.card("dodo").get_by_role("button", name="Resume dodo").click()
    await expect(console.card("dodo").get_by_text("Paused")).to_have_count(0)
    await console.show()
    await expect(console.row(delivery)).to_contain_text("Done")


async def test_a_source_is_made_rotated_and_deleted_and_each_secret_told_once(
    console: Console,
) -> None:
    await console.show("/webhooks?view=sources")
    await console.tab.get_by_label("Name").fill("acme")
    await console.tab.get_by_role("button", name="Make the source").click()
    told = console.tab.locator(".secret")
    await expect(told.get_by_role("heading")).to_be_focused()
    first = await told.locator("code").inner_text()
    await told.get_by_role("button", name="I have it").click()
    await expect(told).to_have_count(0)
    await console.deliver({"type": "a.b"}, "/api/webhooks/acme", first)
    counted = console.card("acme").get_by_role("list", name="Deliveries of acme")
    await expect(counted).to_have_text("1 unhandled")
    await console.card("acme").get_by_role("button", name="Rotate").click()
    await console.card("acme").get_by_role("button", name="Add the new secret").click()
    second = await told.locator("code").inner_text()
    await expect(console.card("acme").get_by_text("good until")).to_be_visible()
    for secret in (first, second):
        await console.deliver({"type": "a.b", "secret": secret}, "/api/webhooks/acme", secret)
    await console.card("acme").get_by_role("button", name="Delete acme").press("Enter")
    await console.card("acme").get_by_role("button", name="Press again: Delete acme").press("Enter")
    await expect(console.card("acme")).to_have_count(0)
    await expect(console.tab.get_by_role("heading", name="Sources")).to_be_focused()
    assert first not in await console.tab.content()


async def test_the_list_holds_still_for_a_keyboard_and_while_it_is_paused(
    console: Console,
) -> None:
    await console.show()
    for payment in ("first", "second"):
        delivery = await console.pay(payment, "nobody-4")
        await expect(console.rows.first).to_have_attribute("data-id", delivery)
    await expect(console.rows.nth(1)).to_be_visible()
    top = await console.rows.first.get_attribute("data-id")
    await console.rows.first.press("ArrowDown")
    await expect(console.rows.nth(1)).to_be_focused()
    delivery = await console.pay("held", "nobody-4")
    held = console.tab.locator(".deliveries .held")
    await expect(held).to_contain_text("Holding still while you read · 1 new")
    await expect(console.rows.first).to_have_attribute("data-id", str(top))
    await held.get_by_role("button", name="Show them").click()
    await expect(console.rows.first).to_have_attribute("data-id", delivery)
    await console.tab.get_by_role("button", name="Pause list").click()
    again = await console.pay("held-2", "nobody-4")
    await expect(held).to_contain_text("The list is paused · 1 new")
    await expect(console.row(again)).to_have_count(0)
    await console.tab.get_by_role("button", name="Resume list").click()
    await expect(console.row(again)).to_contain_text("Unmatched")


async def test_a_flood_leaves_a_bounded_list_that_says_what_it_leaves_out(console: Console) -> None:
    await console.show()
    await expect(console.states).to_be_visible()
    await console.server.app[POOL].execute(FLOOD)
    await expect(console.rows.first).to_contain_text("flood.600")
    await expect(console.rows).to_have_count(100)
    await expect(console.tab.get_by_text("The newest 100 deliveries")).to_be_visible()
    await console.tab.get_by_role("button", name="Show older ones").click()
    await expect(console.rows).to_have_count(200)
