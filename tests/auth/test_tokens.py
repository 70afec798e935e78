from __future__ import annotations

import base64
import hmac
import json
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from server.auth import tokens

KEY = tokens.derive("s" * 32)
TOKEN = tokens.sign(["shop.*", "public.>"], 2_000_000_000, "user:ada", KEY)
NOW = 1_900_000_000.0


def forge(payload: Any) -> str:
    """A token of whatever payload, rightly signed."""
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    text = base64.urlsafe_b64encode(raw).rstrip(b"=")
    mac = base64.urlsafe_b64encode(hmac.digest(KEY, text, "sha256")).rstrip(b"=")
    return f"trt_{text.decode()}.{mac.decode()}"


def test_what_was_signed_is_read() -> None:
    who = tokens.read(TOKEN, KEY, NOW)
    assert who is not None
    assert (who.kind, who.name, who.user_id) == ("token", "user:ada", None)
    assert who.patterns == ("shop.*", "public.>")
    assert who.scopes == {"read"}
    assert who.expires == 2_000_000_000
    assert who.scopes == {"read"}
    assert not who.is_admin


def test_it_ends() -> None:
    assert tokens.read(TOKEN, KEY, 1_999_999_999.9)
    assert tokens.read(TOKEN, KEY, 2_000_000_000.0) is None


def test_another_secret_signs_other_tokens() -> None:
    assert tokens.read(TOKEN, tokens.derive("t" * 32), NOW) is None
    assert tokens.derive("s" * 32) != b"s" * 32


@given(st.integers(0, len(TOKEN) - 1), st.characters())
def test_no_other_spelling_is_valid(place: int, letter: str) -> None:
    changed = TOKEN[:place] + letter + TOKEN[place + 1 :]
    assume(changed != TOKEN)
    assert tokens.read(changed, KEY, NOW) is None


@given(st.integers(0, len(TOKEN) - 1))
def test_a_truncated_token_is_none(length: int) -> None:
    assert tokens.read(TOKEN[:length], KEY, NOW) is None


@given(st.text() | st.text().map(lambda text: "trt_" + text) | st.just("trt_" + "." * 5000))
def test_any_text_is_none_and_never_raises(text: str) -> None:
    assert tokens.read(text, KEY, NOW) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ceb"), inner, max_size=3)
        ),
        max_leaves=8,
    )
    | st.binary(max_size=30)
)
def test_a_signed_payload_of_another_form_is_none_or_sound(payload: Any) -> None:
    who = tokens.read(forge(payload), KEY, NOW)
    if who is not None:
        assert who.expires is not None
        assert who.expires > NOW
        assert all(isinstance(item, str) for item in who.patterns)


def test_padding_and_whitespace_are_other_spellings() -> None:
    for changed in (TOKEN + "=", TOKEN + "\n", " " + TOKEN, TOKEN.replace(".", "=."), TOKEN * 2):
        assert tokens.read(changed, KEY, NOW) is None


def test_forged_tokens_drive_no_genuine_one_out_of_memory() -> None:
    known = tokens._known.cache_info
    assert tokens.read(TOKEN, KEY, NOW)
    size, hits = known().currsize, known().hits
    for number in range(50):
        assert tokens.read(f"{TOKEN[:-8]}{number:08}", KEY, NOW) is None
        assert tokens.read(forge({"c": number}), KEY, NOW) is None
        assert tokens.read(forge(b"no JSON %d" % number), KEY, NOW) is None
    assert known().currsize == size
    assert tokens.read(TOKEN, KEY, NOW)
    assert known().hits == hits + 1


def test_a_long_token_is_read_each_time() -> None:
    long = tokens.sign(["a" * 200] * 2 + ["public.a"] * 10, 2_000_000_000, "user:ada", KEY)
    assert tokens.KNOWN_LENGTH < len(long) <= tokens.MAX_TOKEN
    before = tokens._known.cache_info()
    assert tokens.read(long, KEY, NOW) is not None
    assert tokens._known.cache_info() == before
