"""What changes while a password is being checked: the check is of what is stored at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from argon2 import PasswordHasher

from server.keys import POOL
from tests.accounts.serving import ADA, HASHER, PASSWORD, Accounts, sign_in
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="package")

CHANGE = "/api/auth/change-password"
NEW = "battery staple"
BODY = {"currentPassword": PASSWORD, "newPassword": NEW}


def meanwhile(
    server: Accounts, patch: pytest.MonkeyPatch, happens: Callable[[], Awaitable[object]]
) -> None:
    """Let something happen, once, between a password's check and what is done then."""
    verify, left = server.passwords.verify, [happens]

    async def wrapped(stored: str | None, password: str) -> bool:
        right = await verify(stored, password)
        if left:
            await left.pop()()
        return right

    patch.setattr(server.passwords, "verify", wrapped)


async def test_a_changed_password_lets_no_sign_in_through_that_checked_the_old_one(
    server: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await server.ada()
    answers = []

    async def change() -> None:
        answers.append(await owner.post(CHANGE, json=BODY | {"revokeOtherSessions": True}))

    meanwhile(server, monkeypatch, change)
    answer = await sign_in(server.client())
    assert answers[0].status_code == 200
    assert answer.status_code == 401
    assert answer.json()["code"] == "INVALID_EMAIL_OR_PASSWORD"
    assert "set-cookie" not in answer.headers
    assert await server.sql("SELECT count(*) FROM sessions") == 1
    assert (await owner.get("/api/auth/get-session")).json() is not None


async def test_a_hash_that_another_sign_in_brought_up_to_date_is_no_other_password(
    server: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.ada()
    new = HASHER.hash(PASSWORD)
    set_hash = "UPDATE users SET password_hash = $1"
    for old in (
        HASHER.hash(PASSWORD),
        PasswordHasher(time_cost=2, memory_cost=8, parallelism=1).hash(PASSWORD),
    ):
        await server.sql(set_hash, old)
        meanwhile(server, monkeypatch, lambda: server.sql(set_hash, new))
        await server.signed_in()
        assert await server.sql("SELECT password_hash FROM users") == new


async def test_a_changed_password_is_not_changed_by_who_showed_the_old_one(
    server: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await server.ada()
    other = HASHER.hash("somebody else's")
    meanwhile(server, monkeypatch, lambda: server.sql("UPDATE users SET password_hash = $1", other))
    answer = await client.post(CHANGE, json=BODY | {"revokeOtherSessions": True})
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_PASSWORD")
    assert await server.sql("SELECT password_hash FROM users") == other
    assert (await client.get("/api/auth/get-session")).json() is not None


async def test_of_two_changes_at_once_one_is_done(
    server: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = await server.ada(), await server.signed_in()
    verify, both = server.passwords.verify, asyncio.Barrier(2)

    async def together(stored: str | None, password: str) -> bool:
        right = await verify(stored, password)
        await both.wait()
        return right

    with monkeypatch.context() as patch:
        patch.setattr(server.passwords, "verify", together)
        news = ["the first of them", "the second of them"]
        answers = await asyncio.gather(
            *(
                client.post(CHANGE, json=BODY | {"newPassword": new})
                for client, new in zip(clients, news, strict=True)
            )
        )
    codes = [answer.status_code for answer in answers]
    assert sorted(codes) == [200, 400]
    await server.signed_in(password=news[codes.index(200)])


async def test_an_account_that_ends_while_it_signs_in_is_401(
    server: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.ada()
    meanwhile(server, monkeypatch, lambda: server.sql("DELETE FROM users"))
    answer = await sign_in(server.client())
    assert answer.status_code == 401
    assert answer.json()["code"] == "INVALID_EMAIL_OR_PASSWORD"


async def test_an_account_that_ends_while_it_makes_a_key_is_401(server: Accounts) -> None:
    admin = await server.admin()
    body = {"name": "x", "scopes": ["read"]}
    blocked = """
        SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
          AND wait_event_type = 'Lock' AND query LIKE '%INSERT INTO public.api_keys%'"""
    async with server.app[POOL].acquire() as connection:
        async with connection.transaction():
            await connection.execute("DELETE FROM users")
            making = asyncio.create_task(admin.post("/api/keys", json=body))
            await until(lambda: server.sql(blocked))
        answer = await making
    assert answer.status_code == 401
    assert await server.sql("SELECT count(*) FROM api_keys") == 0


async def test_an_account_that_ends_at_its_sign_up_was_made_with_its_session(
    server: Accounts,
) -> None:
    # One transaction: nobody ever sees the account without its session.
    await server.sql("""
        CREATE FUNCTION refuse_session() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN RAISE EXCEPTION 'no'; END $$""")
    await server.sql("""
        CREATE TRIGGER refuse BEFORE INSERT ON sessions EXECUTE FUNCTION refuse_session()""")
    try:
        answer = await server.client().post("/api/auth/sign-up/email", json=ADA)
        assert answer.status_code == 500
        assert await server.sql("SELECT count(*) FROM users") == 0
    finally:
        await server.sql("DROP FUNCTION refuse_session() CASCADE")
    await server.ada()
