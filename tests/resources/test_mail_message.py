"""The message for a contact: whatever its fields hold, its headers are ours."""

from __future__ import annotations

import email
import email.policy
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.resources import mail
from tests.resources.inbox import FROM, TO


@given(name=st.text(min_size=1, max_size=200), address=st.text(max_size=40), text=st.text())
def test_no_field_becomes_a_header(name: str, address: str, text: str) -> None:
    fields = {
        "id": 1,
        "name": name,
        "email": address,
        "message": text,
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    with suppress(UnicodeEncodeError):  # a lone surrogate: Postgres holds none
        (name + address + text).encode()
        raw = mail.compose(fields, FROM, TO).as_bytes()
        parsed = email.message_from_bytes(raw, policy=email.policy.default)
        names = sorted(set(parsed.keys()) - {"Reply-To"})
        assert names == [
            "Auto-Submitted", "Content-Transfer-Encoding", "Content-Type", "Date", "From",
            "MIME-Version", "Message-ID", "Subject", "To",
        ]  # fmt: skip
        assert (parsed["To"], parsed["From"]) == (TO, FROM)


@pytest.mark.parametrize(
    "attack",
    ["x\r\nBcc: all@example.com", "x\nBcc: a@b.co", "x\u2028Bcc: a@b.co", "x\x85Bcc: a@b.co",
     "x\x0bBcc: a@b.co", '"x" <a@b.co>, "', "=?utf-8?q?x=0D=0ABcc:=20a@b.co?="],
)  # fmt: skip
def test_header_injection_is_impossible(attack: str) -> None:
    fields = {
        "id": 1,
        "name": attack,
        "email": "ada@example.com",
        "message": attack,
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    raw = mail.compose(fields, FROM, TO).as_bytes()
    parsed = email.message_from_bytes(raw, policy=email.policy.default)
    assert parsed["Bcc"] is None
    assert [item.addr_spec for item in parsed["Reply-To"].addresses] == ["ada@example.com"]
    assert parsed["To"] == TO
