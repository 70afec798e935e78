from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.auth.tokens import derive
from server.webhooks.sources.sealing import NONCE, VERSION, Sealer, SealingError

SECRET = "s" * 32
PLAIN = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
SEALER = Sealer(SECRET)
SEALED = SEALER.seal(PLAIN, "acme", "1")


@given(st.text(st.characters(codec="utf-8"), max_size=200), st.text("abc-_", min_size=1))
@settings(max_examples=50, deadline=None)
def test_what_is_sealed_can_be_opened(plain: str, source: str) -> None:
    assert SEALER.open(SEALER.seal(plain, source, "1"), source, "1") == plain


def test_another_process_with_the_same_setting_opens_it() -> None:
    assert Sealer(SECRET).open(SEALED, "acme", "1") == PLAIN


def test_another_setting_does_not_open_it() -> None:
    with pytest.raises(SealingError):
        Sealer("t" * 32).open(SEALED, "acme", "1")


@pytest.mark.parametrize(("source", "row"), [("acme", "2"), ("acma", "1"), ("acme\0", "1")])
def test_it_is_good_for_its_row_alone(source: str, row: str) -> None:
    with pytest.raises(SealingError):
        SEALER.open(SEALED, source, row)


def test_a_name_and_an_id_do_not_pass_into_each_other() -> None:
    with pytest.raises(SealingError):
        SEALER.open(SEALER.seal(PLAIN, "acme1", "1"), "acme", "11")


def test_every_changed_bit_is_found() -> None:
    for place in range(len(SEALED) * 8):
        changed = bytearray(SEALED)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises(SealingError):
            SEALER.open(bytes(changed), "acme", "1")


def test_what_is_cut_or_longer_is_refused() -> None:
    for end in range(len(SEALED)):
        with pytest.raises(SealingError):
            SEALER.open(SEALED[:end], "acme", "1")
    with pytest.raises(SealingError):
        SEALER.open(SEALED + b"\0", "acme", "1")


def test_it_starts_with_its_version_and_is_never_twice_the_same() -> None:
    made = {SEALER.seal(PLAIN, "acme", "1") for _ in range(100)}
    assert len({it[1 : 1 + NONCE] for it in made}) == 100
    assert all(it[:1] == VERSION and len(it) == 1 + NONCE + len(PLAIN) + 16 for it in made)


def test_nothing_of_the_secret_is_in_it_nor_in_an_error() -> None:
    assert PLAIN.encode() not in SEALED
    with pytest.raises(SealingError) as caught:
        Sealer("t" * 32).open(SEALED, "acme", "1")
    assert PLAIN not in str(caught.value)
    assert "t" * 32 not in str(caught.value)


def test_the_key_is_that_of_nothing_else() -> None:
    """A row sealed with the key that signs stream tokens is none of ours."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = bytes(NONCE)
    place = b"\0".join((VERSION, b"acme", b"1"))
    other = AESGCM(derive(SECRET)).encrypt(nonce, PLAIN.encode(), place)
    with pytest.raises(SealingError):
        SEALER.open(VERSION + nonce + other, "acme", "1")


VECTOR = "012b047062439a0d3bc68d6a3eee77f27d4986e436a4e36746c5526634cc0520dc876c9d947065d03ae2b8"


def test_a_vector_that_later_versions_must_open() -> None:
    """What lies in people's databases: a change of the key or the form would lock them out."""
    assert Sealer(SECRET).open(bytes.fromhex(VECTOR), "acme", "1") == "whsec_dmVjdG9y"
