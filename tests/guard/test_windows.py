from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server.guard.policy import Policy, Verdict
from server.guard.windows import Refusals, Windows

TWO = Policy("two", 2, 10)

# Whole and half seconds, so that hits meet the very edge of a window.
STEPS = st.integers(0, 12).map(lambda half: half / 2)
HITS = st.lists(st.tuples(STEPS, st.sampled_from("abc"), st.sampled_from([3, 10])), max_size=80)


def of(seconds: int, requests: int) -> Policy:
    return Policy("p", requests, seconds)


@given(HITS, st.integers(1, 5))
def test_it_is_a_log_of_what_was_let_through(
    hits: list[tuple[float, str, int]], requests: int
) -> None:
    windows = Windows()
    passed: dict[tuple[str, int], list[float]] = {}
    now = 1000.0
    for step, key, seconds in hits:
        now += step
        log = passed.setdefault((key, seconds), [])
        counted = [time for time in log if time > now - seconds]
        verdict = windows.hit(of(seconds, requests), key, now)
        assert verdict.allowed == (len(counted) < requests)
        if verdict.allowed:
            log.append(now)
            counted.append(now)
        assert verdict.remaining == requests - len(counted)
        assert verdict.reset_at == counted[0] + seconds
    for (_, seconds), log in passed.items():
        for start in log:
            assert sum(start <= time < start + seconds for time in log) <= requests


@given(st.lists(st.floats(0, 20), max_size=60), st.integers(1, 4))
def test_no_window_wherever_it_starts_has_more(steps: list[float], requests: int) -> None:
    windows, now, log = Windows(), 1e9, []
    for step in steps:
        now += step
        if windows.hit(of(10, requests), "a", now).allowed:
            log.append(now)
    for first, beyond in zip(log, log[requests:], strict=False):
        assert beyond >= first + 10


@given(HITS, st.integers(1, 5), st.integers(1, 4), st.integers(1, 6))
def test_it_never_remembers_more_than_its_bounds(
    hits: list[tuple[float, str, int]], requests: int, keys: int, times: int
) -> None:
    windows, now = Windows(max_keys=keys, max_hits=times), 0.0
    for step, key, seconds in hits:
        now += step
        windows.hit(of(seconds, requests), key, now)
        assert windows.keys <= keys
        assert windows.hits <= max(times, requests)


def test_the_time_told_to_a_refused_client_is_when_it_passes() -> None:
    windows = Windows()
    for now in (0.0, 4.0):
        windows.hit(TWO, "a", now)
    refused = windows.hit(TWO, "a", 5.0)
    assert (refused.allowed, refused.reset_at) == (False, 10.0)
    assert not windows.hit(TWO, "a", 9.999).allowed
    assert windows.hit(TWO, "a", 10.0).allowed
    assert windows.hit(TWO, "a", 10.0).reset_at == 14.0


def test_a_lowered_limit_counts_what_has_passed() -> None:
    windows = Windows()
    for now in (0.0, 1.0, 2.0):
        windows.hit(of(10, 3), "a", now)
    refused = windows.hit(of(10, 1), "a", 3.0)
    assert (refused.allowed, refused.reset_at) == (False, 12.0)


def test_names_have_limits_of_their_own() -> None:
    windows = Windows()
    assert windows.hit(Policy("a", 1, 10), "k", 0).allowed
    assert windows.hit(Policy("b", 1, 10), "k", 0).allowed
    assert not windows.hit(Policy("a", 1, 10), "k", 0).allowed


def test_the_key_that_rested_longest_is_forgotten_first() -> None:
    windows = Windows(max_keys=2)
    for key, now in (("a", 0.0), ("b", 1.0), ("a", 2.0), ("c", 3.0)):
        windows.hit(TWO, key, now)
    assert not windows.hit(TWO, "a", 3.0).allowed
    assert windows.hit(TWO, "b", 3.0).remaining == 1


def test_an_expired_key_is_forgotten_before_one_that_counts() -> None:
    windows = Windows(max_keys=2)
    windows.hit(of(1000, 1), "long", 0.0)
    windows.hit(of(1, 1), "short", 1.0)
    windows.hit(of(60, 1), "other", 5.0)
    assert not windows.hit(of(1000, 1), "long", 5.0).allowed


def test_expired_keys_go_a_few_at_each_hit() -> None:
    windows = Windows()
    for number in range(100):
        windows.hit(TWO, f"{number}", 0.0)
    for number in range(100):
        before = windows.keys
        windows.hit(TWO, f"late{number}", 100.0)
        assert before - 2 <= windows.keys <= before + 1
    assert windows.keys == 100
    assert windows.hits == 100


def test_a_refusal_holds_until_its_time_for_this_limit_only() -> None:
    refusals = Refusals()
    refusals.note("a", Verdict(TWO, False, 0, 0.0), now=0.0, until=5.0)
    assert refusals.get(TWO, "a", 4.9) is not None
    assert refusals.get(TWO, "a", 5.0) is None
    assert refusals.get(TWO, "b", 1.0) is None
    assert refusals.get(Policy("two", 3, 10), "a", 1.0) is None
    refusals.clear()
    assert refusals.get(TWO, "a", 1.0) is None


def test_refusals_are_bounded_too() -> None:
    refusals = Refusals(max_keys=3)
    for number in range(10):
        refusals.note(f"{number}", Verdict(TWO, False, 0, 0.0), now=0.0, until=5.0)
    held = [number for number in range(10) if refusals.get(TWO, f"{number}", 1.0)]
    assert held == [7, 8, 9]
    refusals.note("late", Verdict(TWO, False, 0, 0.0), now=6.0, until=9.0)
    assert refusals.get(TWO, "late", 7.0) is not None
    refusals.note("gone", Verdict(TWO, False, 0, 0.0), now=20.0, until=20.0)
    assert refusals.get(TWO, "gone", 20.0) is None
