"""The law of a stream, pure: what a client received, held against the rows of the log.

What a subscriber received is exactly the log's rows of its channels, from where it started to
where it ended: in order, each once, unchanged, except for what a `gap` told it that it misses.
Every id is a claim: that all before it has come. So an id-only block is judged as an event is.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from typing import Any

from tests.oracle.model import ID, Block, History, Kind, Session, Truth, Violation

SHOWN = 5


def judge(truth: Truth, history: History, *, arrived: bool = True) -> list[Violation]:
    """Every violation in one subscriber's history; with `arrived`, it must end at the head."""
    walk = Walk(truth, history)
    for session in history.sessions:
        walk.session(session)
    if arrived and (walk.cursor or 0) < truth.head:
        walk.violate("short", f"ended at {walk.cursor}, the head is {truth.head}")
    return walk.found + [Violation("wire", history.name, text) for text in history.malformed]


def deliveries(histories: Iterable[History]) -> Counter[str]:
    """How many blocks of each sort were received."""
    count: Counter[str] = Counter()
    for history in histories:
        count["sessions"] += len(history.sessions)
        for session in history.sessions:
            for block in session.blocks:
                count[block.event or ("mark" if block.data is None else "event")] += 1
    return count


class Walk:
    """One walk through a history, block by block.

    `cursor`: the position that the client's last id claims. `missing`: what it passed over.
    """

    def __init__(self, truth: Truth, history: History) -> None:
        self.truth = truth
        self.found: list[Violation] = []
        self.cursor: int | None = None
        self._history = history
        self._wanted = truth.wanted(history.channels)
        self._next = 0
        self._last: str | None = None
        self._missing: set[int] = set()
        self._number = 0
        self._stage = "new"

    def violate(self, kind: Kind, what: str) -> None:
        """Note a violation."""
        who = f"{self._history.name}, session {self._number}"
        self.found.append(Violation(kind, who, what))

    def session(self, session: Session) -> None:
        """Judge one connection."""
        self._number += 1
        if session.continues and session.ask.last != self._last:
            self.violate("ready", f"asked for {session.ask.last} after {self._last}")
        self._ask = session.ask
        self._stage = "new"
        for block in session.blocks:
            self._block(block)
            if block.id is not None:
                self._last = block.id
        if self._missing:
            some = sorted(self._missing)
            self.violate("lost", f"{len(some)} passed over, first {some[:SHOWN]}")
            self._missing = set()

    def _block(self, block: Block) -> None:
        pos = self.truth.position(block.id)
        if self._stage == "over":
            self.violate("wire", f"after bye: {block!r:.200}")
        elif block.event == "bye":
            self._stage = "over"
        elif block.id is not None and pos is None:
            self.violate("beyond", f"an id of another epoch: {block.id}")
        elif (self._stage == "new") != (block.event == "ready"):
            self.violate("ready", f"a stream begins with ready, once: {block!r:.200}")
            self._stage = "open"
        elif block.event == "ready":
            self._ready(pos)
        elif self._stage == "ready without id" and block.event != "gap":
            self.violate("gap", f"ready without id, and no gap: {block!r:.200}")
            self._stage = "open"
            self._block(block)
        elif block.event == "gap":
            self._gap(pos, json.loads(block.data or "null"))
        elif pos is None:
            self._ephemeral(block.data or "")
        elif block.data is None:
            self._mark(pos)
        else:
            self._event(pos, block.data)

    # --- where a stream starts --------------------------------------------------------------

    def _ready(self, pos: int | None) -> None:
        self._stage = "open" if pos is not None else "ready without id"
        if pos is None:
            if self._ask.last in (None, "earliest"):
                self.violate("ready", "without an id, for a client that brought none")
            return
        if pos > self.truth.head:
            self.violate("beyond", f"ready at {pos}, the head is {self.truth.head}")
        asked = self.truth.position(self._ask.last)
        if self._ask.last == "earliest":
            if pos not in self.truth.floors or pos < self._ask.floor:
                self.violate("ready", f"earliest is {pos}, the floor was {self._ask.floor}")
        elif self._ask.last is not None and pos != asked:
            self.violate("ready", f"goes on from {pos}, asked for {self._ask.last}")
            if asked is not None and pos > asked:
                self._start(asked)
                self._pass(pos)  # what it leaves out is lost
                return
        elif self._ask.rewind is not None:
            self._rewound(pos, self._ask.rewind)
        self._start(pos)

    def _rewound(self, pos: int, count: int) -> None:
        """The last `count` events before a head that was at least `ask.head`."""
        index = bisect_right(self._wanted, pos)
        inside = bisect_right(self._wanted, self._ask.head) - index
        if inside > count:
            self.violate("ready", f"rewind={count} starts {inside} events back, at {pos}")
        floor = max(self.truth.floors)
        there = bisect_right(self._wanted, self._ask.head) - bisect_right(self._wanted, floor)
        if len(self._wanted) - index < min(count, there):
            self.violate("ready", f"rewind={count} starts at {pos}, too late")

    def _start(self, pos: int) -> None:
        self.cursor = pos
        self._next = bisect_right(self._wanted, pos)

    # --- what follows -----------------------------------------------------------------------

    def _gap(self, resumed: int | None, told: Any) -> None:
        """`after` is where the client was, `resumed` where it goes on; the reason is true."""
        first = self._stage == "ready without id"
        self._stage = "open"
        after, reason = told.get("after"), told.get("reason")
        if resumed is None or told.get("resumed") != f"{self.truth.epoch}.{resumed}":
            self.violate("gap", f"resumed is not the block's id: {told}")
            return
        if first:
            if after != self._ask.last:
                self.violate("gap", f"after is not {self._ask.last}: {told}")
            self._first_gap(after, resumed, reason)
        else:
            was = self.truth.position(after)
            if was is None or self.cursor is None or was < self.cursor or reason != "pruned":
                self.violate("gap", f"the client was at {self.cursor}: {told}")
            else:
                self._pass(was)  # without a word until now, so nothing may have been there
                self._pruned(was, resumed)
        self._start(resumed)

    def _first_gap(self, after: str, resumed: int, reason: str) -> None:
        was = self.truth.position(after)
        if reason == "pruned" and was is not None:
            self._pruned(was, resumed)
            return
        true = {
            "ahead": was is not None and was > self._ask.head,
            "epoch": was is None and ID.fullmatch(after) is not None,
            "malformed": ID.fullmatch(after) is None,
        }
        if not true.get(reason, False) or not self._ask.head <= resumed <= self.truth.head:
            self.violate("gap", f"{reason}, after {after}, resumed at {resumed}: {self._ask}")

    def _pruned(self, was: int, resumed: int) -> None:
        if resumed not in self.truth.floors or was >= resumed:
            self.violate("gap", f"nothing was pruned from {was} to {resumed}")

    def _ephemeral(self, data: str) -> None:
        if not json.loads(data)["channel"].startswith("ops."):
            self.violate("wire", f"an event without an id: {data:.200}")

    def _mark(self, pos: int) -> None:
        if pos > self.truth.head:
            self.violate("beyond", f"claims {pos}, the head is {self.truth.head}")
        elif self.cursor is not None and pos < self.cursor:
            self.violate("order", f"an id-only block goes back from {self.cursor} to {pos}")
        else:
            self._pass(pos)

    def _event(self, pos: int, data: str) -> None:
        row = self.truth.rows.get(pos)
        if row is None:
            self.violate("phantom", f"{pos} is not in the log: {data:.200}")
            return
        if not self.truth.is_told_by(pos, data):
            self.violate("body", f"{pos} is {row.told()}, told as {data:.300}")
        index = bisect_right(self._wanted, pos) - 1
        if index < 0 or self._wanted[index] != pos:
            self.violate("foreign", f"{pos} is of the channel {row.channel}")
        elif pos > (self.cursor or 0):
            self._pass(pos - 1)
            self.cursor, self._next = pos, index + 1
        elif pos in self._missing:
            self._missing.remove(pos)
            self.violate("order", f"{pos} came after {self.cursor}")
        else:
            self.violate("twice", f"{pos} came again at {self.cursor}")

    def _pass(self, pos: int) -> None:
        """The client is told that it has everything up to `pos`."""
        if self.cursor is not None and pos <= self.cursor:
            return
        end = bisect_right(self._wanted, pos, self._next)
        self._missing.update(self._wanted[self._next : end])
        self._next, self.cursor = end, pos
