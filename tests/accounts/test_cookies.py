from __future__ import annotations

import pytest

from server.db.pool import Database
from tests.accounts.serving import ADA, COOKIE, Accounts, accounts, sign_in

pytestmark = pytest.mark.asyncio(loop_scope="package")

SECURE = f"__Secure-{COOKIE}"
HTTPS = {"X-Forwarded-Proto": "https"}


async def test_behind_a_trusted_https_proxy_the_cookie_is_secure(clean: Database) -> None:
    async with accounts(clean, trusted_proxies="127.0.0.0/8") as server:
        answer = await server.client(**HTTPS).post("/api/auth/sign-up/email", json=ADA)
        (cookie,) = answer.headers.get_list("set-cookie")
        assert cookie.startswith(f"{SECURE}=trs_")
        assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
        token = answer.json()["token"]
        back = server.client(Cookie=f"{SECURE}={token}; {COOKIE}={token}", **HTTPS)
        assert (await back.get("/api/auth/get-session")).json()["user"]["email"] == ADA["email"]
        gone = (await back.post("/api/auth/sign-out")).headers.get_list("set-cookie")
        assert {item.partition("=")[0] for item in gone} == {SECURE, COOKIE}
        assert all("Max-Age=0" in item for item in gone)


async def test_over_https_only_the_secure_cookie_signs_in(clean: Database) -> None:
    async with accounts(clean, trusted_proxies="127.0.0.0/8") as server:
        await server.ada()
        token = (await sign_in(server.client())).json()["token"]
        for headers, name, known in (
            (HTTPS, SECURE, True), (HTTPS, COOKIE, False), ({}, SECURE, True), ({}, COOKIE, True),
        ):  # fmt: skip
            client = server.client(Cookie=f"{name}={token}", **headers)
            answer = await client.get("/api/auth/get-session")
            assert (answer.json() is not None) == known, (headers, name)


async def test_whoever_is_no_trusted_proxy_says_nothing_of_https(server: Accounts) -> None:
    await server.ada()
    answer = await sign_in(server.client(**HTTPS))
    assert "Secure" not in answer.headers["set-cookie"]


async def test_a_session_in_use_is_renewed_once_a_day_with_its_cookie(server: Accounts) -> None:
    client = await server.ada()
    assert "set-cookie" not in (await client.get("/api/auth/get-session")).headers
    await server.sql(
        "UPDATE sessions SET updated_at = now() - interval '25 hours',"
        " expires_at = now() + interval '6 days'"
    )
    answer = await client.get("/api/auth/get-session")
    (cookie,) = answer.headers.get_list("set-cookie")
    assert cookie.startswith(f"{COOKIE}={client.cookies[COOKIE]};")
    assert "Max-Age=604800" in cookie
    assert "no-store" in answer.headers["cache-control"]
    days = "SELECT expires_at > now() + interval '6.9 days' FROM sessions"
    assert await server.sql(days)
    assert "set-cookie" not in (await client.get("/api/auth/get-session")).headers


async def test_streams_and_errors_renew_as_well(server: Accounts) -> None:
    client = await server.ada()
    cookie = {"Cookie": f"{COOKIE}={client.cookies[COOKIE]}"}
    old = "UPDATE sessions SET updated_at = now() - interval '2 days'"
    await server.sql(old)
    assert "set-cookie" in (await server.open("public.a", headers=cookie)).headers
    await server.sql(old)
    answer = await client.get("/api/keys")
    assert answer.status_code == 403
    assert "set-cookie" in answer.headers
    await server.sql(old)
    page = await client.get("/api/page")
    assert "set-cookie" in page.headers
    assert page.headers["cache-control"] == "no-store"


async def test_a_bearer_is_renewed_without_a_cookie(server: Accounts) -> None:
    _, token = await server.sign_in()
    await server.sql("UPDATE sessions SET updated_at = now() - interval '2 days'")
    answer = await server.client(token).get("/api/auth/get-session")
    assert "set-cookie" not in answer.headers
    assert await server.sql("SELECT updated_at > now() - interval '1 minute' FROM sessions")


async def test_signing_out_wins_over_a_renewal(server: Accounts) -> None:
    client = await server.ada()
    await server.sql("UPDATE sessions SET updated_at = now() - interval '2 days'")
    answer = await client.post("/api/auth/sign-out")
    (cookie,) = answer.headers.get_list("set-cookie")
    assert "Max-Age=0" in cookie


@pytest.mark.parametrize(
    "value", ["", "trs_", "trs_x", "trs_" + "x" * 4000, "nonsense", "trk_x", "trt_x.y", "%00", "é"]
)
async def test_a_cookie_that_is_no_sessions_is_anonymous(server: Accounts, value: str) -> None:
    answer, body = await server.get("/api/auth/get-session", Cookie=f"{COOKIE}={value}")
    assert (answer.status, body) == (200, None)


async def test_a_truncated_or_expired_cookie_is_anonymous(server: Accounts) -> None:
    client = await server.ada()
    token = client.cookies[COOKIE]
    answer, body = await server.get("/api/auth/get-session", Cookie=f"{COOKIE}={token[:-1]}")
    assert (answer.status, body) == (200, None)
    await server.sql("UPDATE sessions SET expires_at = now()")
    assert (await client.get("/api/auth/get-session")).json() is None
    assert (await client.get("/api/auth/list-sessions")).status_code == 401


@pytest.mark.parametrize(
    "value",
    ["Bearer", "Bearer trs_x", "Bearer trk_x", "Bearer trt_x.y", "Bearer " + "x" * 7000,
     "Basic YTpi", "Bearer é", "Bearer trt_" + "." * 5000],
)  # fmt: skip
async def test_a_bearer_that_is_nobodys_is_401(server: Accounts, value: str) -> None:
    answer, body = await server.get("/api/auth/get-session", Authorization=value)
    assert (answer.status, body["error"]) == (401, "Unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
