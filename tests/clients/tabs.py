"""Tabs of one Chromium on the dashboard of a server, and what the browser complains of in them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Literal, Self

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from server.auth.sessions import COOKIE
from tests.served import Served

_VIOLATIONS = """document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`))"""
PATIENCE = 20_000
"""Milliseconds."""


class Complaints:
    """What a browser complains of in the tabs of a context that are opened from now on."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def of(self, context: BrowserContext) -> Self:
        """Listen: to what is thrown, to the console, to violations of the policy."""
        context.on("console", self._listen)
        context.on("weberror", lambda fault: self.texts.append(str(fault.error)))
        await context.add_init_script(_VIOLATIONS)
        return self

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.texts.append(f"{message.type}: {message.text} {message.location}")

    def forgive(self, *texts: str) -> None:
        """Drop what the browser itself tells the console, of a refused request, say."""
        self.texts = [each for each in self.texts if not any(text in each for text in texts)]


class Tabs:
    """Tabs of one user (`user`: its id, empty for a stranger)."""

    def __init__(
        self, server: Served, context: BrowserContext, user: str, complaints: Complaints
    ) -> None:
        self.server = server
        self.context = context
        self.user = user
        self.forgive = complaints.forgive

    async def open(self, path: str = "/") -> Page:
        """One more tab, on this page of the dashboard, live."""
        page = await self.context.new_page()
        await page.goto(f"{self.server.url}/#{path}")
        await expect(page.locator("header .pill")).to_have_text("Live")
        return page

    async def show(self, page: Page, path: str) -> None:
        """Another page of the dashboard in this tab, as a click on its link would."""
        await page.evaluate("path => { location.hash = path; }", path)


@contextlib.asynccontextmanager
async def tabs(
    server: Served,
    browser: Browser,
    role: Literal["admin", "user"] | None = "user",
    *,
    width: int = 1280,
) -> AsyncIterator[Tabs]:
    """A new user's (`None`: a stranger's); at the end the browser must not have complained."""
    expect.set_options(timeout=PATIENCE)
    context = await browser.new_context(viewport={"width": width, "height": 900})
    context.set_default_timeout(PATIENCE)
    complaints = await Complaints().of(context)
    user = ""
    if role is not None:
        user, token = await server.sign_in(role)
        await context.add_cookies([{"name": COOKIE, "value": token, "url": server.url}])
    try:
        yield Tabs(server, context, user, complaints)
    finally:
        await context.close()
    assert not complaints.texts
