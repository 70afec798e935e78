from __future__ import annotations

import pytest

from server.guard.policy import Policy, Verdict, identity

FORMS = Policy("forms", 10, 10)
NOW = 1_795_000_000.25


def test_an_allowed_request_is_told_what_is_left_and_until_when() -> None:
    assert Verdict(FORMS, True, 3, NOW + 6.2).headers(NOW) == {
        "RateLimit-Policy": '"forms";q=10;w=10',
        "RateLimit": '"forms";r=3;t=7',
    }


def test_a_refused_request_is_told_when_to_come_again() -> None:
    assert Verdict(FORMS, False, 0, NOW + 6.2).headers(NOW) == {
        "RateLimit-Policy": '"forms";q=10;w=10',
        "RateLimit": '"forms";r=0;t=7',
        "Retry-After": "7",
    }


@pytest.mark.parametrize(
    ("left", "told"), [(10.0, 10), (9.0005, 10), (1.0, 1), (0.001, 1), (0.0, 0), (-3.0, 0)]
)
def test_seconds_are_rounded_up_and_floats_add_none(left: float, told: int) -> None:
    headers = Verdict(FORMS, False, 0, NOW + left).headers(NOW)
    assert headers["RateLimit"] == f'"forms";r=0;t={told}'
    assert headers["Retry-After"] == str(max(told, 1))


def test_what_nobody_judged_has_no_headers() -> None:
    assert Verdict(FORMS, True, 10, NOW, counted=False).headers(NOW) == {}


@pytest.mark.parametrize("name", ["", 'a"b', "a\r\nX: 1", "a:b", "ä", "a" * 65])
def test_a_name_that_could_break_out_of_a_header_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a policy"):
        Policy(name, 1, 1)


@pytest.mark.parametrize(("requests", "seconds"), [(0, 1), (1, 0), (-1, 1)])
def test_a_policy_lets_something_pass_in_some_time(requests: int, seconds: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Policy("a", requests, seconds)


def test_keys_are_kept_short_and_apart() -> None:
    keys = ["a", "a" * 100, "a" * 101, "a" * 10_000, "ä", "\udcff", "\udcfe", "192.0.2.1"]
    names = {identity(FORMS, key) for key in keys}
    assert len(names) == len(keys)
    assert all(len(name) <= 120 and name.isascii() for name in names)
    assert identity(FORMS, "a") == "forms:10:a"
    assert identity(Policy("forms", 5, 10), "a") == "forms:10:a"
    assert identity(Policy("forms", 10, 60), "a") != "forms:10:a"
