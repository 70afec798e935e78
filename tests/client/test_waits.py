"""How long the Python client waits before it connects again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from server.client import _seconds, backoff


def test_waits_grow_are_spread_and_have_a_bound() -> None:
    waits = [[backoff(2.0, attempt) for _ in range(50)] for attempt in range(20)]
    for attempt, some in enumerate(waits):
        base = min(2.0 * 2**attempt, 30.0)
        assert base <= min(some) < max(some) <= 1.33 * base
    assert backoff(60.0, 5) >= 60.0
    assert backoff(0.0, 10) >= 1.0
    assert backoff(1.0, 0, 7.5) == 7.5


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0.0), ("120", 120.0), (None, None), ("soon", None), ("-1", None), ("", None)],
)
def test_retry_after_is_a_number_of_seconds(text: str | None, seconds: float | None) -> None:
    assert _seconds(text) == seconds


def test_or_a_date() -> None:
    later = datetime.now(UTC) + timedelta(minutes=2)
    assert 60 < (_seconds(format_datetime(later, usegmt=True)) or 0) <= 120
    assert _seconds("Sun, 06 Nov 1994 08:49:37 GMT") == 0
    assert _seconds("Sun, 06 Nov 1994 08:49:37") is None
