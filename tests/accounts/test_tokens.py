from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from server.accounts.keys import Pattern
from server.auth import tokens
from server.db.pool import Database
from server.stream.names import is_pattern
from tests.accounts.serving import ADA, COOKIE, Accounts, accounts
from tests.served import BEARER

PACKAGE = pytest.mark.asyncio(loop_scope="package")

MAKE, EXCHANGE = "/api/streams/token", "/api/streams/cookie"
STREAM_COOKIE = "tailrace.stream_token"


async def make(server: Accounts, *channels: str, seconds: int = 600) -> str:
    """A token of the operator's key."""
    body = {"channels": channels, "expiresIn": seconds}
    answer = await server.client(**BEARER).post(MAKE, json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["token"])


def left(answer: Any) -> float:
    """Seconds until the end that an answer tells."""
    end = datetime.fromisoformat(answer.json()["expiresAt"])
    return (end - datetime.now(UTC)).total_seconds()


@PACKAGE
async def test_a_token_opens_streams_of_its_channels_and_nothing_else(server: Accounts) -> None:
    token = await make(server, "shop.*")
    bearer = {"Authorization": f"Bearer {token}"}
    for channel, status in (("shop.a", 200), ("public.a", 200), ("shop.a.b", 403), ("x", 403)):
        assert (await server.open(channel, headers=bearer)).status == status
    client = server.client(token)
    event = {"channel": "shop.a", "type": "t", "data": 1}
    assert (await client.post("/api/events", json=event)).status_code == 403
    assert (await client.post(MAKE, json={"channels": ["shop.a"]})).status_code == 403
    assert (await client.get("/api/auth/get-session")).json() is None
    assert (await client.get("/api/auth/list-sessions")).status_code == 403


@PACKAGE
async def test_one_gets_a_token_for_what_one_may_read(server: Accounts) -> None:
    client = await server.ada()
    user = (await client.get("/api/auth/get-session")).json()["user"]["id"]
    answer = await client.post(MAKE, json={"channels": [f"user.{user}.>", "public.a"]})
    assert answer.status_code == 200
    assert 590 < left(answer) <= 600
    for channels in (["user.other.>"], [f"user.{user}.>", "ops.metrics"], ["user.*.x"], [">"]):
        assert (await client.post(MAKE, json={"channels": channels})).status_code == 403
    assert (await server.client().post(MAKE, json={"channels": ["public.a"]})).status_code == 401
    _, writer = await server.key("publish")
    refused = await server.client(writer).post(MAKE, json={"channels": ["public.a"]})
    assert refused.status_code == 403


@PACKAGE
async def test_it_lasts_no_longer_than_its_makers_permission(server: Accounts) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=100)).isoformat()
    _, key = await server.key("read", channels=["a"], expiresAt=soon)
    answer = await server.client(key).post(MAKE, json={"channels": ["a"], "expiresIn": 5000})
    assert 90 < left(answer) <= 100


@PACKAGE
async def test_the_address_may_hold_a_token_where_events_are_read(server: Accounts) -> None:
    token = await make(server, "shop.a")
    assert (await server.open("shop.a", token=token)).status == 200
    history = await server.open("shop.a", path="/api/events", token=token)
    assert history.status == 200
    body = b'{"channel":["shop.a"]}'
    head = f"POST /api/stream?token={token} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    posted = head.encode() + b"Content-Type: application/json\r\n\r\n" + body
    assert (await server.raw(posted)).status == 200
    for bad in ("trt_x", BEARER["Authorization"][7:], token[:-1], ""):
        assert (await server.open("public.a", token=bad)).status == 401
    elsewhere = await server.client().get(f"/api/auth/get-session?token={token}")
    assert elsewhere.json() is None


@PACKAGE
async def test_a_token_is_exchanged_for_a_cookie_of_the_streams(server: Accounts) -> None:
    token = await make(server, "shop.a", seconds=100)
    answer = await server.client(token).post(EXCHANGE)
    assert answer.status_code == 204
    (cookie,) = answer.headers.get_list("set-cookie")
    name, *attributes = cookie.split("; ")
    assert name == f"{STREAM_COOKIE}={token}"
    assert {"HttpOnly", "SameSite=Lax", "Path=/api/stream"} <= set(attributes)
    assert any(item in attributes for item in ("Max-Age=100", "Max-Age=99", "Max-Age=98"))
    stream = await server.open("shop.a", headers={"Cookie": f"{STREAM_COOKIE}={token}"})
    assert stream.status == 200


@PACKAGE
async def test_only_a_token_in_the_header_is_exchanged(server: Accounts) -> None:
    client = await server.ada()
    assert (await client.post(EXCHANGE)).status_code == 403
    assert (await server.client().post(EXCHANGE)).status_code == 401
    token = await make(server, "shop.a")
    by_cookie = server.client(Cookie=f"{STREAM_COOKIE}={token}")
    assert (await by_cookie.post(EXCHANGE)).status_code == 401
    assert (await server.client("trt_x.y").post(EXCHANGE)).status_code == 401


@PACKAGE
async def test_over_https_the_cookie_is_secure(clean: Database) -> None:
    async with accounts(clean, trusted_proxies="127.0.0.1") as server:
        client = server.client(await make(server, "a"), X_Forwarded_Proto="https")
        assert "Secure" in (await client.post(EXCHANGE)).headers["set-cookie"]


@PACKAGE
async def test_session_and_stream_cookie_count_both(server: Accounts) -> None:
    client = await server.ada()
    user = (await client.get("/api/auth/get-session")).json()["user"]["id"]
    token = await make(server, "shop.a")
    both = f"{COOKIE}={client.cookies[COOKIE]}; {STREAM_COOKIE}={token}"
    assert (await server.open("shop.a", f"user.{user}.x", headers={"Cookie": both})).status == 200
    spoilt = f"{COOKIE}={client.cookies[COOKIE]}; {STREAM_COOKIE}={token}x"
    mine = await server.open(f"user.{user}.x", headers={"Cookie": spoilt})
    assert mine.status == 200
    assert (await server.open("shop.a", headers={"Cookie": spoilt})).status == 403


@PACKAGE
async def test_a_stream_ends_with_its_token(server: Accounts) -> None:
    key = server.app[tokens.TOKEN_KEY]
    token = tokens.sign(["shop.a"], int(time.time()) + 2, "key:x", key)
    stream, _ = await server.live("shop.a", headers={"Authorization": f"Bearer {token}"})
    assert (await stream.named("bye")).data["reason"] == "expired"


@PACKAGE
async def test_servers_of_one_secret_take_each_others_tokens(clean: Database) -> None:
    async with accounts(clean) as server:
        token = await make(server, "shop.a")
    for secret, status in (("s" * 32, 200), ("t" * 32, 401)):
        async with accounts(clean, secret=secret) as server:
            bearer = {"Authorization": f"Bearer {token}"}
            assert (await server.open("shop.a", headers=bearer)).status == status


@PACKAGE
@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"channels": []}, ["channels"]),
        ({"channels": ["a..b"]}, ["channels", 0]),
        ({"channels": ["a"] * 129}, ["channels"]),
        ({"channels": ["a"], "expiresIn": 9}, ["expiresIn"]),
        ({"channels": ["a"], "expiresIn": 86_401}, ["expiresIn"]),
        ({"channels": [f"{'x' * 195}{number}" for number in range(100, 128)]}, ["channels"]),
        ({"channels": ["a"], "user": ADA["email"]}, ["user"]),
    ],
)
async def test_bad_fields_are_400_with_their_path(
    server: Accounts, body: dict[str, Any], path: list[Any]
) -> None:
    answer = await server.client(**BEARER).post(MAKE, json=body)
    assert answer.status_code == 400
    assert [issue["path"] for issue in answer.json()["issues"]] == [path]


@given(st.text(st.sampled_from("aZ9_-.*>\n é"), max_size=12) | st.just("x" * 201))
def test_a_pattern_is_the_same_here_and_in_streams(text: str) -> None:
    try:
        TypeAdapter(Pattern).validate_python(text)
        valid = True
    except ValidationError:
        valid = False
    assert valid == is_pattern(text)
