"""Posts signed webhooks, and believes no figure before every one of them is in the database."""

from __future__ import annotations

import json
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from scripts.benchmark import peers
from scripts.benchmark.loadgen import MeasureError
from scripts.benchmark.meter import Meter, used
from scripts.benchmark.process import LOAD, on_core
from scripts.benchmark.world import WEBHOOK_KEY, Target
from server.webhooks.providers.dodo import DODO, STANDARD
from server.webhooks.providers.samples.example import Example

MOST = 25_000
"""Requests a second that nobody here answers."""
FRESH = 120.0
"""Seconds for which what was signed is used: it is refused after 300."""
USERS = 1_000
"""Customers whose payments these are."""


def message_id(number: int) -> str:
    """The id of the request of that number."""
    return f"msg_bench_{number:08d}"


class Requests:
    """Signed deliveries in a file, distinct, made before anything is measured."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "requests"
        self._count = 0
        self._at = 0.0

    def at_least(self, count: int) -> Path:
        """The file, signed a moment ago."""
        if count > self._count or time.monotonic() - self._at > FRESH:
            self._count, self._at = count, time.monotonic()
            now = time.time()
            with self._path.open("wb") as file:
                for number in range(count):
                    request = _request(number, now)
                    file.write(struct.pack("=I", len(request)) + request)
        return self._path


def _request(number: int, now: float) -> bytes:
    user = f"bench{number % USERS}"
    at = datetime.fromtimestamp(now, UTC)
    example = Example(user_id=user, credits=10, reference=str(number), at=at)
    body = DODO.sample("payment.succeeded", example)
    headers = {
        "Host": "127.0.0.1",
        "User-Agent": "hookload",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
    } | STANDARD.sign(body, WEBHOOK_KEY, message_id=message_id(number), at=now)
    lines = [f"POST {DODO.path} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Answer(NamedTuple):
    """One acknowledged delivery; `sent`, `done`: ns of the monotonic clock."""

    number: int
    sent: int
    done: int
    id: str


@dataclass(frozen=True)
class Posted:
    """What a run came to. µs of CPU are for each delivery: the server's and the sender's within
    what was measured, the database's over all of the run."""

    answers: Sequence[Answer]
    rate: float
    p50_ms: float
    p99_ms: float
    server_us: float
    database_us: float
    sender_us: float
    other_pct: float

    @property
    def stored(self) -> dict[str, str]:
        """What has to be in the database: each message's id, and the row's."""
        return {message_id(answer.number): answer.id for answer in self.answers}


@dataclass(frozen=True)
class HookLoad:
    """One run to be. `rate`: deliveries a second; 0: as fast as they are answered. `warm`: seconds
    before it is measured."""

    senders: int
    seconds: float
    rate: float = 0.0
    warm: float = 0.3

    @property
    def needed(self) -> int:
        """How many requests it may take."""
        return int((self.rate or MOST) * (self.seconds + self.warm)) + self.senders

    def run(self, target: Target, requests: Requests, folder: Path) -> Posted:
        """Do it.

        Raises:
            MeasureError: a delivery was not acknowledged.
        """
        program, file = peers.compiled("hookload"), requests.at_least(self.needed)
        answers = folder / "answers"
        argv = [program, "-c", self.senders, "-w", self.warm, "-t", self.seconds, "-r", self.rate]
        argv += ["-p", target.process.pid, "127.0.0.1", target.process.port, file, answers]
        meter, before = Meter(target.process.pid, *target.others), used(target.others)
        with on_core(LOAD):
            done = subprocess.run(
                list(map(str, argv)),
                check=False,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=self.seconds + 60,
            )
        database, other = used(target.others) - before, meter.other_pct()
        if done.returncode != 0:
            msg = f"the sender failed: {done.stderr.strip()}; the server: {target.process.said}"
            raise MeasureError(msg)
        return read(answers.read_text(), json.loads(done.stdout), database, other)


def read(text: str, told: Mapping[str, float], database: float, other_pct: float) -> Posted:
    """The figures of a run whose answers are `text`. `database`: CPU seconds.

    Raises:
        MeasureError: something was not acknowledged, or there is nothing to measure.
    """
    answers, refused = [], []
    for line in text.splitlines():
        number, sent, done, status, found = line.split()
        if status == "200" and found != "-":
            answers.append(Answer(int(number), int(sent), int(done), found))
        else:
            refused.append(f"{message_id(int(number))} got {status}")
    if refused:
        raise MeasureError(f"{len(refused)} were not acknowledged: {refused[0]}")
    begin, end = told["begin"], told["end"]
    took = sorted(one.done - one.sent for one in answers if begin <= one.done < end)
    if len(took) < 10 or end <= begin:
        raise MeasureError(f"{len(took)} deliveries are too few to measure anything")
    return Posted(
        answers,
        rate=len(took) / (end - begin) * 1e9,
        p50_ms=quantile(took, 0.5) / 1e6,
        p99_ms=quantile(took, 0.99) / 1e6,
        server_us=told["server_us"] / len(took),
        database_us=database * 1e6 / len(answers),
        sender_us=told["own_us"] / len(took),
        other_pct=other_pct,
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value that `share` of them do not exceed."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
