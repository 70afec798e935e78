"""Guessing is limited, whatever else is switched off."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from server.db.pool import Database
from tests.accounts.serving import PASSWORD, Accounts, accounts, sign_in

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def guess(server: Accounts, count: int, email: str, **headers: str) -> list[int]:
    client = server.client(**headers)
    return [
        (await sign_in(client, email=email, password="wrong")).status_code for _ in range(count)
    ]


@pytest.mark.parametrize("email", ["ada@example.com", "nobody@example.com"])
async def test_the_sixth_guess_is_refused_even_with_limits_off(clean: Database, email: str) -> None:
    async with accounts(clean, limits="off") as server:
        await server.ada()
        assert await guess(server, 5, email) == [401] * 5
        answer = await sign_in(server.client(), email=email.upper())
        assert answer.status_code == 429
        assert answer.json()["error"] == "Too many requests"
        reset = datetime.fromisoformat(answer.json()["resetAt"])
        left = (reset - datetime.now(UTC)).total_seconds()
        assert 880 < left <= 900
        assert abs(int(answer.headers["retry-after"]) - left) < 2


async def test_a_success_forgets_the_failures(server: Accounts) -> None:
    await server.ada()
    for _ in range(3):
        assert await guess(server, 4, "ada@example.com") == [401] * 4
        await server.signed_in()


async def test_guesses_at_once_are_counted_before_they_are_judged(server: Accounts) -> None:
    await server.ada()
    client = server.client()
    answers = await asyncio.gather(*(sign_in(client, password="wrong") for _ in range(12)))
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [401] * 5 + [429] * 7


async def test_an_address_has_thirty_attempts_over_all_accounts(clean: Database) -> None:
    async with accounts(clean, limits="off", trusted_proxies="127.0.0.1") as server:
        mine = {"X_Forwarded_For": "192.0.2.1"}
        for number in range(6):
            assert await guess(server, 5, f"u{number}@example.com", **mine) == [401] * 5
        assert await guess(server, 1, "u7@example.com", **mine) == [429]
        assert await guess(server, 1, "u7@example.com", X_Forwarded_For="192.0.2.2") == [401]


async def test_right_sign_ins_do_not_count_against_the_address(clean: Database) -> None:
    async with accounts(clean, limits="off") as server:
        await server.ada()
        client = server.client()
        assert [(await sign_in(client)).status_code for _ in range(40)] == [200] * 40


async def test_guesses_at_sign_in_do_not_lock_the_owner_out_of_the_change(
    server: Accounts,
) -> None:
    owner = await server.ada()
    assert await guess(server, 6, "ada@example.com") == [401] * 5 + [429]
    body = {"currentPassword": PASSWORD, "newPassword": "battery staple"}
    wrong = body | {"currentPassword": "wrong"}
    assert (await owner.post("/api/auth/change-password", json=wrong)).status_code == 400
    assert (await owner.post("/api/auth/change-password", json=body)).status_code == 200
    assert await guess(server, 1, "ada@example.com") == [429]


async def test_guesses_at_the_change_do_not_lock_the_sign_in(server: Accounts) -> None:
    owner = await server.ada()
    wrong = {"currentPassword": "wrong", "newPassword": "battery staple"}
    change = "/api/auth/change-password"
    codes = [(await owner.post(change, json=wrong)).status_code for _ in range(6)]
    assert codes == [400] * 5 + [429]
    await server.signed_in()


async def test_redis_being_down_opens_nothing(clean: Database) -> None:
    async with accounts(clean, redis_url="redis://127.0.0.1:1") as server:
        assert await guess(server, 6, "nobody@example.com") == [401] * 5 + [429]
