"""better-auth's own browser client, unchanged, in Chromium: it must find what it expects."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page

from tests.clients.bundle import bundle
from tests.clients.conftest import Serve

pytestmark = [
    pytest.mark.browser,
    pytest.mark.node,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.usefixtures("node"),
]

ADA = {"name": "Ada", "email": "ada@example.com", "password": "correct horse"}


class Auth:
    """Calls `auth.<name>(argument)` in the page; `{data, error}` comes back."""

    def __init__(self, page: Page) -> None:
        self._page = page

    async def data(self, name: str, argument: object = None) -> Any:
        result = await self._call(name, argument)
        assert result["error"] is None, result
        return result["data"]

    async def error(self, name: str, argument: object = None) -> Any:
        result = await self._call(name, argument)
        assert result["data"] is None, result
        return result["error"]

    async def _call(self, name: str, argument: object) -> Any:
        script = f"async (argument) => JSON.parse(JSON.stringify(await auth.{name}(argument)))"
        return await self._page.evaluate(script, argument or {})


async def test_better_auths_client_signs_up_in_and_out_and_sees_its_sessions(
    serve: Serve, page: Page
) -> None:
    served = await serve()
    await page.goto(f"{served.proxy.url}/healthz")
    await page.evaluate(await bundle("auth-page.ts"))
    auth = Auth(page)
    assert await auth.data("getSession") is None
    user = (await auth.data("signUp.email", ADA))["user"]
    assert (user["name"], user["email"], user["emailVerified"]) == ("Ada", ADA["email"], False)
    session = await auth.data("getSession")
    assert session["user"]["id"] == session["session"]["userId"] == user["id"]
    assert (await auth.error("signUp.email", ADA))["status"] == 422
    await auth.data("signOut")
    assert await auth.data("getSession") is None
    wrong = await auth.error("signIn.email", ADA | {"name": None, "password": "wrong horse"})
    assert wrong["status"] in {400, 401}
    who = {"email": ADA["email"], "password": ADA["password"]}
    assert (await auth.error("signIn.email", who | {"password": "wrong horse"}))["status"] == 401
    assert (await auth.data("signIn.email", who))["user"]["id"] == user["id"]
    await page.context.clear_cookies()
    await auth.data("signIn.email", who)
    sessions = await auth.data("listSessions")
    assert len(sessions) == 2
    mine = await current(auth)
    other = next(one for one in sessions if one["id"] != mine)
    assert (await auth.data("revokeSession", {"token": other["token"]}))["status"] is True
    assert [one["id"] for one in await auth.data("listSessions")] == [mine]
    change = {"currentPassword": ADA["password"], "newPassword": "battery staple"}
    await auth.data("changePassword", change | {"revokeOtherSessions": True})
    assert (await auth.data("getSession"))["user"]["id"] == user["id"]
    await auth.data("signOut")
    assert (await auth.error("signIn.email", who))["status"] == 401
    await auth.data("signIn.email", who | {"password": "battery staple"})
    await page.goto("about:blank")


async def current(auth: Auth) -> str:
    """The id of the page's own session."""
    return str((await auth.data("getSession"))["session"]["id"])
