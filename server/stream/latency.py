"""How long an event takes from its publishing to its subscribers' sockets: a few samples.

Measured is the time from the event's own `at`, which Postgres sets when it is published, just
before its commit, to the moment when the last live subscriber of that event was written to: the
whole of commit, stamping, reading and fan-out. It contains what a transaction does between
publishing and commit. It does not contain the network, nor what a client that lags waits: who
catches up is not measured. With parked handlers it ends when they are woken.

`at` has whole milliseconds, so one sample is right to half of one. One event of a published batch
is followed at a time, at most every `SPACING` seconds, and only if somebody is there to get it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

SPACING = 0.005
"""Seconds between two samples: 200 in a second at most."""
MOST = 1_000
"""Samples kept for who reads them."""

_AT = '"at":"'
_AT_LENGTH = len("2026-11-22T16:04:05.123Z")


class Taken(NamedTuple):
    """What was measured since the last look, in seconds: the median, the 99th percentile."""

    p50: float
    p99: float
    samples: int


class Latency:
    """Follows one event after the other through the fan-out.

    The fan-out tells how far it is as two numbers that only grow: lines looked after, rounds ended.
    """

    def __init__(self) -> None:
        self.waits = False
        """Whether an event is on its way."""
        self._at = ""
        self._lines = self._rounds = 0
        self._due = 0.0
        self._samples: list[tuple[str, float]] = []

    def begin(self, body: str, lines: int = 0, rounds: int = 0) -> bool:
        """Follow an event until the fan-out is so far; whether it is its turn."""
        now = time.monotonic()
        if self.waits or now < self._due:
            return False
        start = body.find(_AT) + len(_AT)  # in a name or key the quotes would be escaped
        self._at = body[start : start + _AT_LENGTH]
        self._lines, self._rounds = lines, rounds
        self._due = now + SPACING
        self.waits = True
        return True

    def passed(self, lines: int, rounds: int) -> None:
        """The fan-out is so far."""
        if lines >= self._lines and rounds >= self._rounds:
            self.end()

    def end(self) -> None:
        """The event that is followed has reached the sockets."""
        if self.waits and len(self._samples) < MOST:
            self._samples.append((self._at, time.monotonic()))
        self.waits = False

    def take(self, ahead: float | None) -> Taken | None:
        """What was measured since the last call.

        `ahead`: seconds that Postgres' clock (Unix time) is ahead of `time.monotonic()`. `None`
        where that is not known, or nothing was measured.
        """
        samples, self._samples = self._samples, []
        if ahead is None or not samples:
            return None
        # Half a millisecond: what `at` was cut by, on average.
        waits = sorted(max(0.0, end + ahead - _unix(at) - 0.0005) for at, end in samples)
        return Taken(_rank(waits, 0.5), _rank(waits, 0.99), len(waits))


def _unix(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def _rank(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of sorted values."""
    return values[max(0, math.ceil(len(values) * share) - 1)]
