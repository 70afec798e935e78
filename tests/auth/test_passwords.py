from __future__ import annotations

import asyncio

import pytest
from argon2 import PasswordHasher

from server.auth.passwords import Passwords
from server.errors import ApiError
from tests.waiting import until

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
OTHER = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1)


async def test_a_password_is_known_again_and_no_other_is() -> None:
    passwords = Passwords(CHEAP)
    stored = await passwords.hash("secret")
    assert stored.startswith("$argon2id$")
    assert await passwords.verify(stored, "secret")
    assert not await passwords.verify(stored, "Secret")
    assert stored != await passwords.hash("secret"), "salted"
    passwords.close()


async def test_without_a_hash_one_of_the_same_cost_is_verified() -> None:
    """Argon2 itself is asked: a refusal without work would tell who has an account."""
    passwords = Passwords(CHEAP)
    assert not CHEAP.check_needs_rehash(passwords._dummy)
    for stored in (None, "", "nonsense", "$argon2id$v=19$m=8"):
        before = passwords.verifications
        assert not await passwords.verify(stored, "secret")
        assert passwords.verifications > before
    passwords.close()


async def test_beyond_the_queue_it_is_503_and_room_comes_back() -> None:
    slow = PasswordHasher(time_cost=10, memory_cost=16384, parallelism=1)
    passwords = Passwords(slow, threads=1, waiting=2)
    results = await asyncio.gather(
        *(passwords.hash("secret") for _ in range(6)), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, ApiError)]
    assert len(refused) == 3
    assert {error.kind.status for error in refused} == {503}
    assert all(int(error.headers["Retry-After"]) for error in refused)
    assert await passwords.hash("secret")
    passwords.close()


async def test_a_request_that_is_cancelled_keeps_its_place_until_the_thread_is_free() -> None:
    slow = PasswordHasher(time_cost=50, memory_cost=16384, parallelism=1)
    passwords = Passwords(slow, threads=1, waiting=0)
    task = asyncio.create_task(passwords.hash("secret"))
    await until(lambda: passwords.hashes)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    with pytest.raises(ApiError):
        await passwords.hash("secret")
    passwords.close()


async def test_after_the_end_it_is_503() -> None:
    passwords = Passwords(CHEAP)
    passwords.close()
    with pytest.raises(ApiError) as caught:
        await passwords.hash("secret")
    assert caught.value.kind.status == 503


async def test_a_hash_of_other_parameters_is_due() -> None:
    passwords = Passwords(CHEAP)
    assert not passwords.needs_rehash(await passwords.hash("secret"))
    assert passwords.needs_rehash(await Passwords(OTHER).hash("secret"))
    passwords.close()
