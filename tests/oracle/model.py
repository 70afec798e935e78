"""What is judged: what clients were told, and the truth of the log beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Kind = Literal[
    # of a stream
    "lost",  # an event was passed over
    "twice",  # an event came again
    "order",  # an event, or an id, came after a later one
    "phantom",  # an event that is not in the log
    "foreign",  # an event of a channel that was not asked for
    "body",  # an event whose content is not that of its row
    "ready",  # a stream did not begin where it should, or did not say so
    "gap",  # a gap that is not true
    "beyond",  # an id that the log had not reached
    "short",  # a client that never arrived at the head
    "wire",  # bytes that the contract does not allow
    # of the log and the servers, see ledger.py, witness.py and servers.py
    "hole", "changed", "behind", "missing", "leaked", "unknown", "repeated", "untrue", "causality",
    "server",
]  # fmt: skip


ID = re.compile(r"([0-9a-f]{8})\.(0|[1-9][0-9]{0,18})", re.ASCII)


class Violation(NamedTuple):
    kind: Kind
    who: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind:9} {self.who}: {self.what}"


class Row(NamedTuple):
    """One row of `tailrace.event`, as the witness read it."""

    pos: int
    channel: str
    type: str
    key: str | None
    at: str
    message_id: str
    data: str

    def told(self) -> dict[str, Any]:
        """What a client is to read of it."""
        told = self._asdict()
        del told["pos"]
        return told | {"data": json.loads(self.data)}


class Block(NamedTuple):
    """One block of a stream; `event` is empty for messages and for id-only blocks."""

    id: str | None
    event: str = ""
    data: str | None = None


class Ask(NamedTuple):
    """Where a session asked to start, and what was certain by then.

    `last`: an id or `earliest`. `head`, `floor`: positions that the log had reached for certain.
    """

    last: str | None = None
    rewind: int | None = None
    head: int = 0
    floor: int = 0


@dataclass(slots=True)
class Session:
    """One connection. `continues`: it asked with the id that the one before ended at."""

    ask: Ask
    continues: bool = False
    blocks: list[Block] = field(default_factory=list)
    ended: str = ""


@dataclass(slots=True)
class History:
    """All that one logical subscriber was told."""

    name: str
    channels: Sequence[str]
    sessions: list[Session] = field(default_factory=list)
    malformed: list[str] = field(default_factory=list)


class Truth:
    """The log as the witness knows it: every row ever, and every floor that was ever set."""

    def __init__(self, epoch: str, rows: Mapping[int, Row], floors: Iterable[int] = ()) -> None:
        self.epoch = epoch
        self.rows = rows
        self.head = max(rows, default=0)
        self.floors = {0, *floors}
        self._by_channel: dict[str, list[int]] = {}
        for pos in sorted(rows):
            self._by_channel.setdefault(rows[pos].channel, []).append(pos)
        self._wanted: dict[tuple[str, ...], list[int]] = {}
        self._right: dict[int, str] = {}

    def wanted(self, channels: Sequence[str]) -> list[int]:
        """The positions of a subscriber's events, ascending."""
        key = tuple(channels)
        if key not in self._wanted:
            found = [
                pos
                for name, positions in self._by_channel.items()
                if any(matches(pattern, name) for pattern in channels)
                for pos in positions
            ]
            self._wanted[key] = sorted(found)
        return self._wanted[key]

    def is_told_by(self, pos: int, text: str) -> bool:
        """Whether `text` is the JSON of the row at `pos`; looked at once for many clients."""
        if self._right.get(pos) == text:
            return True
        try:
            right = bool(json.loads(text) == self.rows[pos].told())
        except ValueError:
            return False
        if right:
            self._right[pos] = text
        return right

    def position(self, text: str | None) -> int | None:
        """The position of an id of this epoch."""
        match = ID.fullmatch(text or "")
        return int(match[2]) if match and match[1] == self.epoch else None


def matches(pattern: str, channel: str) -> bool:
    """Whether a channel or pattern (`*` one segment, a last `>` one or more) covers a channel."""
    expression = re.escape(pattern).replace(r"\*", "[^.]+").replace(">", ".+")
    return re.fullmatch(expression, channel) is not None
