"""What the log consists of: events, their ids, and the epochs that give ids their meaning."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

GapReason = Literal["pruned", "epoch", "ahead", "malformed"]

FIRST_PAGE = 32
"""Events in a reader's first page of the log, before it is known how large they are."""

MAX_CHANNEL = 200
"""Characters of a channel's name."""

_CHANNEL = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", re.ASCII)
_ID = re.compile(r"([0-9a-f]{8})\.(0|[1-9][0-9]{0,18})", re.ASCII)
_MAX_POSITION = 2**63 - 1


class Event(NamedTuple):
    """One event of the log. `body` is its JSON text on the wire, made by the database."""

    pos: int
    channel: str
    key: str | None
    body: str


class EventId(NamedTuple):
    """An SSE id: a position in an epoch. As text `<epoch8>.<position>`."""

    epoch: str
    pos: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.pos}"


def is_channel(text: str) -> bool:
    """Whether `text` names a channel: segments of [A-Za-z0-9_-] joined by dots."""
    return len(text) <= MAX_CHANNEL and _CHANNEL.fullmatch(text) is not None


def parse_id(text: str) -> EventId | None:
    """The id that `text` is, or `None` when it is none."""
    match = _ID.fullmatch(text)
    if match is None or int(match[2]) > _MAX_POSITION:
        return None
    return EventId(match[1], int(match[2]))


class Head(NamedTuple):
    """The log's state in one snapshot: positions in (`floor`, `pos`] can be read."""

    epoch: str
    pos: int
    floor: int


class Fork(NamedTuple):
    """One row of the epoch history: `epoch` began after position `fork`, in order of `Fork`s."""

    epoch: str
    fork: int


@dataclass(frozen=True, slots=True)
class Resume:
    """Where a stream starts: after `pos`. With a `gap`, events before that are missing."""

    pos: int
    gap: GapReason | None = None


def resume(after: EventId | None, head: Head, history: Sequence[Fork]) -> Resume:
    """Decide where a reader that has seen everything up to `after` goes on.

    `None` is an id that could not be parsed. `head` must be read from the database *now*, not
    taken from what this process has delivered: an id may be ahead of that by right.
    """
    if after is None:
        return Resume(head.pos, "malformed")
    last = _last_shared(after.epoch, head, history)
    if last is None or (after.pos > last and after.epoch != head.epoch):
        return Resume(head.pos, "epoch")
    if after.pos > last:
        return Resume(head.pos, "ahead")
    if after.pos < head.floor:
        return Resume(head.floor, "pruned")
    return Resume(after.pos)


def _last_shared(epoch: str, head: Head, history: Sequence[Fork]) -> int | None:
    """The last position at which `epoch` tells the same as today's history; `None` if unknown."""
    for index, row in enumerate(history):
        if row.epoch == epoch:
            return min([head.pos, *(later.fork for later in history[index + 1 :])])
    return None


class Sink(Protocol):
    """Where the reader delivers: the pubsub, seen from below."""

    @property
    def bearable(self) -> int:
        """How many events it takes at once without holding up the loop, at least 1."""

    def publish(self, events: Sequence[Event]) -> None:
        """Take events; their positions follow each other and what was published before."""

    def rebase(self, epoch: str, pos: int, gap: GapReason | None) -> None:
        """Go on after `pos` in `epoch`; with a `gap`, subscribers miss events and are told."""

    def announce(self, channel: str, body: str) -> None:
        """Take an ephemeral event: best effort, no id."""


class Selection(NamedTuple):
    """Which channels a page of the log is about: exact names, and patterns (`*`, `>`)."""

    channels: tuple[str, ...]
    patterns: tuple[str, ...] = ()
