from __future__ import annotations

import pytest

from server.auth.attempts import Attempts, Limit
from server.errors import ApiError


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def attempts(clock: Clock) -> Attempts:
    return Attempts(per_account=Limit(2, 60), per_address=Limit(4, 60), max_keys=10, clock=clock)


def refused(attempts: Attempts, email: str, address: str = "192.0.2.1") -> ApiError | None:
    try:
        attempts.begin(email, address)
    except ApiError as error:
        return error
    return None


def test_the_window_slides(attempts: Attempts, clock: Clock) -> None:
    assert not refused(attempts, "a")
    clock.now += 30
    assert not refused(attempts, "A")
    error = refused(attempts, "a")
    assert error is not None
    assert error.kind.status == 429
    assert error.headers["Retry-After"] == "30"
    clock.now += 30
    assert not refused(attempts, "a")
    assert refused(attempts, "a")


def test_a_refused_attempt_is_not_counted(attempts: Attempts, clock: Clock) -> None:
    for _ in range(50):
        refused(attempts, "a")
    clock.now += 60
    assert not refused(attempts, "a")


def test_accounts_and_addresses_are_counted_apart(attempts: Attempts) -> None:
    for email in "aabb":
        assert not refused(attempts, email)
    assert refused(attempts, "c")
    assert not refused(attempts, "c", "192.0.2.2")
    assert refused(attempts, "a", "192.0.2.2")


def test_only_failures_count(attempts: Attempts) -> None:
    for _ in range(40):
        assert not refused(attempts, "a")
        attempts.succeeded("A", "192.0.2.1")
    assert len(attempts.accounts) == len(attempts.addresses) == 0


def test_a_success_does_not_forget_the_address_failures(attempts: Attempts) -> None:
    for email in "bbc":
        assert not refused(attempts, email)
    assert not refused(attempts, "a")
    attempts.succeeded("a", "192.0.2.1")
    assert not refused(attempts, "c")
    assert refused(attempts, "a")
    assert not refused(attempts, "a", "192.0.2.2")


def test_what_was_undone_was_none(attempts: Attempts) -> None:
    for _ in range(9):
        assert not refused(attempts, "a")
        attempts.undone("a", "192.0.2.1")
    assert len(attempts.accounts) == len(attempts.addresses) == 0


def test_memory_is_bounded(attempts: Attempts) -> None:
    for number in range(1000):
        attempts.begin(f"u{number}", f"192.0.2.{number}")
    assert len(attempts.accounts) == len(attempts.addresses) == 10


def test_a_flood_of_others_does_not_unlock(attempts: Attempts) -> None:
    for _ in range(2):
        assert not refused(attempts, "locked")
    for number in range(100):
        assert not refused(attempts, f"u{number}", f"192.0.2.{number}")
    assert refused(attempts, "locked", "198.51.100.1")
    assert len(attempts.accounts) == 10


def test_those_that_are_over_give_way_first(attempts: Attempts, clock: Clock) -> None:
    attempts.begin("over", "192.0.2.1")
    attempts.begin("over", "192.0.2.1")
    clock.now += 60
    for number in range(10):
        attempts.begin(f"u{number}", f"198.51.100.{number}")
    for number in range(10):
        attempts.begin(f"u{number}", f"198.51.100.{number}")
        assert refused(attempts, f"u{number}", "203.0.113.1")


def test_memory_is_bounded_when_all_are_locked(attempts: Attempts) -> None:
    for number in range(100):
        for _ in range(2):
            assert not refused(attempts, f"u{number}", f"192.0.2.{number}")
        assert refused(attempts, f"u{number}", f"192.0.2.{number}")
    assert len(attempts.accounts) == 10
    assert refused(attempts, "u99", "198.51.100.1")
    assert not refused(attempts, "u0", "198.51.100.1")
