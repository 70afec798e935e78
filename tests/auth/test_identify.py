from __future__ import annotations

from server.auth import sessions
from server.keys import POOL
from tests.served import BEARER, Served


async def test_a_session_is_told_by_cookie_and_by_bearer(server: Served) -> None:
    user, token = await server.sign_in()
    cookie = f"tailrace.session_token={token}"
    for headers in (
        {"Cookie": cookie}, {"Cookie": f"__Secure-{cookie}"}, {"Authorization": f"Bearer {token}"},
    ):  # fmt: skip
        answer, body = await server.get("/api/auth/get-session", **headers)
        assert answer.headers["cache-control"] == "no-store"
        assert body["user"]["id"] == body["session"]["userId"] == user
        assert token not in str(body)


async def test_nobody_has_no_session_and_a_key_has_none_either(server: Served) -> None:
    for headers in ({}, BEARER, {"Cookie": "tailrace.session_token=trs_x"}):
        assert (await server.get("/api/auth/get-session", **headers))[1] is None


async def test_the_bearer_is_looked_at_before_the_cookie(server: Served) -> None:
    _, token = await server.sign_in()
    answer, _ = await server.get(
        "/api/auth/get-session",
        Cookie=f"tailrace.session_token={token}",
        Authorization="Bearer nonsense",
    )
    assert answer.status == 401


async def test_an_expired_or_deleted_session_is_nobodys(server: Served) -> None:
    _, token = await server.sign_in()
    pool = server.app[POOL]
    assert await sessions.find(pool, token, by_cookie=True)
    await pool.execute("UPDATE sessions SET expires_at = now()")
    assert await sessions.find(pool, token, by_cookie=True) is None
    _, token = await server.sign_in()
    await pool.execute("DELETE FROM users")
    assert await sessions.find(pool, token, by_cookie=True) is None


async def test_the_table_does_not_hold_the_token(server: Served) -> None:
    _, token = await server.sign_in()
    row = await server.app[POOL].fetchrow("SELECT * FROM sessions")
    assert row is not None
    assert token not in str(tuple(row))
    assert row["token_hash"] == sessions.token_hash(token)


async def test_a_token_that_cannot_be_one_is_not_looked_up(server: Served) -> None:
    pool = server.app[POOL]
    for token in ("", "trs_" + "x" * 200, "nonsense", "trs_\udcff", "trs_\0"):
        assert await sessions.find(pool, token, by_cookie=False) is None
