from __future__ import annotations

import json

import pytest

from server.auth import tokens
from server.log.control import MAX_AGE, RefusedError, derive, sign, verify

KEY = derive("s" * 32)
NOW = 1_795_000_000.0


def signed(**body: object) -> dict[str, str]:
    return sign(body, KEY, at=NOW, mark="m1")


def test_a_message_is_read_as_it_was_signed() -> None:
    message = json.loads(json.dumps(signed(ask="ä\n", n=[1, None])))
    control = verify(message, KEY, NOW + 1)
    assert control == ({"ask": "ä\n", "n": [1, None]}, NOW, "m1")


def test_a_signature_never_changes() -> None:
    """Processes of two versions understand each other."""
    vector = "5bfbb87bd1caf62a2c013fe99e6e0d878771ff1f278287a72493f6d6dd67f2fe"
    assert signed(do="end")["s"] == vector


def test_the_key_is_of_no_use_for_anything_else() -> None:
    assert derive("s" * 32) != tokens.derive("s" * 32)
    assert derive("s" * 32) != derive("t" * 32)


@pytest.mark.parametrize("name", ["m", "t", "n", "s"])
def test_no_part_of_it_can_be_changed(name: str) -> None:
    message = signed(do="end")
    changed = "1795000001.000" if name == "t" else message[name] + " "
    with pytest.raises(RefusedError, match="not signed"):
        verify({**message, name: changed}, KEY, NOW)


def test_what_belongs_to_one_part_cannot_be_moved_to_another() -> None:
    message = sign({}, KEY, at=NOW, mark="m1")
    with pytest.raises(RefusedError):
        verify({**message, "n": "m", "m": "1{}"}, KEY, NOW)


def test_another_secret_is_refused() -> None:
    with pytest.raises(RefusedError, match="not signed with our secret"):
        verify(signed(do="end"), derive("t" * 32), NOW)


@pytest.mark.parametrize("seconds", [MAX_AGE + 1, -MAX_AGE - 1])
def test_what_is_out_of_its_time_is_refused(seconds: float) -> None:
    with pytest.raises(RefusedError, match="old"):
        verify(signed(do="end"), KEY, NOW + seconds)


@pytest.mark.parametrize(
    "message", [None, 1, "x", [], {}, {"m": "{}"}, {"m": 1, "t": 2, "n": 3, "s": 4},
                {"m": "{}", "t": "0", "n": "\ud800", "s": "\ud800"}]
)  # fmt: skip
def test_rubbish_is_refused(message: object) -> None:
    with pytest.raises(RefusedError):
        verify(message, KEY, NOW)
