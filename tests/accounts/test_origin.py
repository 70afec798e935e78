"""Pages of other origins: CSRF, and signing a visitor in as somebody else."""

from __future__ import annotations

import pytest

from server.db.pool import Database
from tests.accounts.serving import ADA, PASSWORD, Accounts, accounts, sign_in

pytestmark = pytest.mark.asyncio(loop_scope="package")

OURS = "https://app.example.com"
EVIL = "https://evil.example"


@pytest.mark.parametrize("origin", [EVIL, "null", "http://[", "https://127.0.0.1.evil.example"])
async def test_a_foreign_page_signs_nobody_in_or_up(server: Accounts, origin: str) -> None:
    client = server.client(Origin=origin)
    answer = await client.post("/api/auth/sign-up/email", json=ADA)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    await server.ada()
    assert (await sign_in(client)).status_code == 403
    assert (await sign_in(server.client(Sec_Fetch_Site="cross-site"))).status_code == 403


async def test_a_foreign_page_writes_nothing_with_a_cookie(server: Accounts) -> None:
    client = await server.ada()
    change = {"currentPassword": PASSWORD, "newPassword": "battery staple"}
    for path, body in (
        ("sign-out", {}), ("revoke-sessions", {}), ("revoke-other-sessions", {}),
        ("revoke-session", {"token": "x"}), ("change-password", change),
    ):  # fmt: skip
        answer = await client.post(f"/api/auth/{path}", json=body, headers={"Origin": EVIL})
        assert answer.status_code == 403, path
    assert (await client.get("/api/auth/get-session")).json() is not None


async def test_our_own_page_a_listed_origin_and_curl_may(clean: Database) -> None:
    async with accounts(clean, cors_origins=OURS) as server:
        await server.ada()
        for headers in ({"Origin": server.url}, {"Origin": OURS}, {}):
            client = server.client(**headers)
            assert (await sign_in(client)).status_code == 200
            assert (await client.post("/api/auth/sign-out")).status_code == 200


async def test_a_bearer_token_is_no_cookie_and_may_come_from_anywhere(server: Accounts) -> None:
    _, token = await server.sign_in()
    client = server.client(token, Origin=EVIL)
    assert (await client.post("/api/auth/revoke-other-sessions")).json() == {"status": True}


async def test_a_foreign_page_does_not_sign_its_visitor_out(server: Accounts) -> None:
    # Lax: the browser sends no cookie with it, but would take the answer's.
    await server.ada()
    for headers in ({"Origin": EVIL}, {"Sec_Fetch_Site": "cross-site"}):
        answer = await server.client(**headers).post("/api/auth/sign-out")
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers


async def test_a_cookie_that_did_not_come_is_not_taken_back(server: Accounts) -> None:
    answer = await server.client().post("/api/auth/sign-out")
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    _, token = await server.sign_in()
    answer = await server.client(token, Origin=EVIL).post("/api/auth/sign-out")
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    assert (await server.client(token).get("/api/auth/get-session")).status_code == 401


async def test_a_foreign_page_is_refused_before_rate_and_body(server: Accounts) -> None:
    client = server.client(Origin=EVIL)
    for path in ("sign-in/email", "sign-up/email", "sign-out"):
        answer = await client.post(f"/api/auth/{path}", content=b"no JSON at all")
        assert answer.status_code == 403, path
        assert not {"ratelimit", "ratelimit-policy"} & set(answer.headers), path
    assert "ratelimit" in (await sign_in(server.client())).headers


async def test_the_scheme_is_part_of_an_origin(clean: Database) -> None:
    async with accounts(clean, trusted_proxies="127.0.0.0/8") as server:
        await server.ada()
        http, https = server.url, server.url.replace("http:", "https:")
        for proto, origin, status in (
            ("https", https, 200), ("https", http, 403), ("http", http, 200),
            ("http", https, 200),  # behind a proxy that nobody has declared: still this host's page
        ):  # fmt: skip
            client = server.client(Origin=origin, X_Forwarded_Proto=proto)
            assert (await sign_in(client)).status_code == status, (proto, origin)


async def test_hosts_and_schemes_have_no_case(clean: Database) -> None:
    async with accounts(clean, cors_origins=OURS) as server:
        await server.ada()
        assert (await sign_in(server.client(Origin="HTTPS://App.Example.com"))).status_code == 200
        own = server.client(Origin="http://tailrace.EXAMPLE", Host="Tailrace.example")
        assert (await sign_in(own)).status_code == 200
