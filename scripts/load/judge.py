"""The law, pure: what each client received, held against what was published.

A client must have exactly the events of its channels whose position is after the one it started
from: in order, each once, over all its connections, except for what a `gap` told it that it
misses. Every id is a claim that all before it has come, so an id-only block is judged as well.

What was received is a bit for each event, so that a long run with many clients fits in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Literal, NamedTuple

from scripts.load.ledger import Ledger
from scripts.load.order import Order
from scripts.load.wire import Event, Moved, Stray

Kind = Literal[
    "lost", "undelivered", "duplicate", "disorder", "moved", "untold gap", "told gap", "stray",
    "malformed",
]  # fmt: skip
EXAMPLES = 5
KEPT = 50
"""Violations of one client that are kept in full; the others are counted."""


class Violation(NamedTuple):
    """Who, and what, as a sentence says it."""

    kind: Kind
    client: int
    what: str


class Witness:
    """What one client has seen. `wanted`: its channels. `cursor`: the last id it was given."""

    __slots__ = (
        "cursor", "faults", "gaps", "jumps", "number", "seen", "sent", "start", "told",
        "unsaid", "waiting", "wanted",
    )  # fmt: skip

    def __init__(self, number: int, wanted: Sequence[int]) -> None:
        self.number = number
        self.wanted = wanted
        self.start: int | None = None
        self.cursor = 0
        self.sent: dict[int, int] = {}
        """Events of each channel that had been sent when it started: later ones are its own."""
        self.seen: dict[int, bytearray] = {}
        self.gaps: list[tuple[int, int]] = []
        self.unsaid: dict[int, int] = {}
        """Events of each channel that had been sent at its last gap: where those lie that nobody
        has received is not known, so the gap covers them."""
        self.waiting = False
        """Whether a `ready` without an id waits for its gap."""
        self.jumps: list[tuple[int, int]] = []
        self.faults: list[Violation] = []
        self.told: Counter[Kind] = Counter()

    def fault(self, kind: Kind, what: str) -> None:
        """Note a violation that shows at once."""
        self.told[kind] += 1
        if len(self.faults) < KEPT:
            self.faults.append(Violation(kind, self.number, what))

    def event(self, event: Event) -> None:
        """An event arrived. Runs for each delivery."""
        key, channel, index, mask, _ = event
        seen = self.seen.get(channel)
        if seen is None or index >= len(seen):
            seen = self._room(channel, index)
            if seen is None:
                return
        if key > self.cursor:
            self.cursor = key
            if seen[index] & mask:
                self.fault("duplicate", f"{_name(event)} came again, at another position")
        elif seen[index] & mask:
            self.fault("duplicate", f"{_name(event)} came again")
        else:
            self.fault("disorder", f"{_name(event)} came after a later id")
        seen[index] |= mask

    def unplaced(self) -> None:
        """Something came, and where it started is not known."""
        if self.waiting:
            self.fault("malformed", "a ready without an id, and no gap after it")
            self.waiting = False

    def _room(self, channel: int, index: int) -> bytearray | None:
        if self.start is None:
            self.unplaced()
        if channel not in self.wanted:
            self.fault("stray", f"an event of channel {channel}, which it did not ask for")
            return None
        seen = self.seen.setdefault(channel, bytearray())
        seen.extend(bytes(index + 32 - len(seen)))
        return seen

    def moved(self, moved: Moved) -> None:
        """An event arrived whose position is not the one that somebody else had it at."""
        before = self.told.total()
        self.event(moved.event)
        if self.told.total() == before:
            at, first = _pos(moved.event.key), _pos(moved.first)
            self.fault("moved", f"{_name(moved.event)} came at {at}, to another client at {first}")

    def stray(self, stray: Stray) -> None:
        """An event arrived that is not of this run."""
        self.fault("stray", f"an event that it did not ask for: {stray.what}")
        if stray.key is not None:
            self.mark(stray.key)

    def mark(self, key: int) -> None:
        """An id without an event of ours."""
        if self.start is None:
            self.unplaced()
        self.cursor = max(self.cursor, key)

    def ready(self, key: int | None, ledger: Ledger) -> None:
        """A connection's first block."""
        self.waiting = key is None
        if key is None:
            return  # a gap follows, and tells where
        if self.start is None:
            self._begin(key, ledger)
        elif key > self.cursor:
            self.jumps.append((self.cursor, key))
        self.mark(key)

    def gap(self, key: int, ledger: Ledger) -> None:
        """It is told that it misses what is up to `key`."""
        self.waiting = False
        if self.start is None:
            self._begin(key, ledger)
        self.gaps.append((self.cursor, key))
        self.unsaid = self._sent(ledger)
        self.mark(key)

    def excused(self, channel: int) -> int:
        """Up to which event it is owed nothing that came to nobody: not its own, or told."""
        return max(self.sent.get(channel, 0), self.unsaid.get(channel, 0))

    def _begin(self, key: int, ledger: Ledger) -> None:
        self.start = key
        self.sent = self._sent(ledger)

    def _sent(self, ledger: Ledger) -> dict[int, int]:
        return {
            number: len(ledger.channels[number].due)
            for number in self.wanted
            if ledger.channels[number].due
        }


def _name(event: Event) -> str:
    seq = event.byte * 8 + event.mask.bit_length() - 1
    return f"event {seq} of channel {event.channel}"


class Verdict:
    """All clients' violations, counted, with examples. `told`: events that gaps covered."""

    def __init__(self) -> None:
        self.counts: Counter[Kind] = Counter()
        self.examples: dict[Kind, list[Violation]] = {}
        self.clients = 0
        self.harmed = 0
        self.gaps = 0
        self.told = 0
        self.expected = 0
        """Deliveries that the law demanded."""

    @property
    def exact(self) -> bool:
        """Whether the law was kept."""
        return not self.counts

    def add(self, violation: Violation, count: int = 1) -> None:
        """Count a violation."""
        self.counts[violation.kind] += count
        examples = self.examples.setdefault(violation.kind, [])
        if len(examples) < EXAMPLES:
            examples.append(violation)

    def add_all(self, kind: Kind, client: int, mask: int, what: Callable[[int], str]) -> None:
        """Count the events in a mask; `what`: an example's words, by its number."""
        if not mask:
            return
        self.counts[kind] += mask.bit_count()
        examples = self.examples.setdefault(kind, [])
        while mask and len(examples) < EXAMPLES:
            seq = (mask & -mask).bit_length() - 1
            mask &= mask - 1
            examples.append(Violation(kind, client, what(seq)))


def judge(
    ledger: Ledger, witnesses: Collection[Witness], *, settled: bool = True, gaps: bool = True
) -> Verdict:
    """Judge all clients that have ever started.

    `settled`: the run was waited for, so what has not come is missing. `gaps`: a told gap is no
    violation.
    """
    verdict = Verdict()
    orders = [Order(channel) for channel in ledger.channels]
    for witness in witnesses:
        if witness.start is None:
            witness.unplaced()  # it is ready, and no gap came
            if not witness.faults:
                continue
        before = verdict.counts.total()
        verdict.clients += 1
        verdict.gaps += len(witness.gaps)
        _own(verdict, witness)
        for number in witness.wanted if witness.start is not None else ():
            _missing(verdict, witness, number, orders[number], settled=settled)
        if witness.gaps and not gaps:
            what = f"{len(witness.gaps)} gaps were told"
            verdict.add(Violation("told gap", witness.number, what), len(witness.gaps))
        verdict.harmed += verdict.counts.total() > before
    return verdict


def _own(verdict: Verdict, witness: Witness) -> None:
    """What the client saw for itself."""
    for violation in witness.faults:
        verdict.add(violation)
        witness.told[violation.kind] -= 1
    for kind, count in witness.told.items():
        if count > 0:
            verdict.counts[kind] += count
    for violation in witness.faults:
        witness.told[violation.kind] += 1


def _missing(
    verdict: Verdict, witness: Witness, number: int, order: Order, *, settled: bool
) -> None:
    """What should be there and is not, and why."""
    expected = order.expected(witness.start or 0, witness.sent.get(number, 0))
    verdict.expected += expected.bit_count()
    missing = expected & ~int.from_bytes(witness.seen.get(number, b""), "little")
    if not missing:
        return
    told = missing & order.between(witness.gaps)
    if unsaid := witness.unsaid.get(number, 0):
        nowhere = order.lost_after(0) & ~order.lost_after(unsaid)
        told |= missing & nowhere
    verdict.told += told.bit_count()
    missing &= ~told
    jumped = missing & order.between(witness.jumps)
    missing &= ~jumped
    passed = missing & order.until(witness.cursor)
    missing &= ~passed
    keys, last = order.channel.keys, _pos(witness.cursor)

    def name(seq: int) -> str:
        return f"event {seq} of channel {number}"

    def say_passed(seq: int) -> str:
        return f"{name(seq)}, passed over: its last id is {last}, the event's {_pos(keys[seq])}"

    def say_missing(seq: int) -> str:
        return name(seq) + (" was committed and never came" if keys[seq] else " came to nobody")

    def say_jumped(seq: int) -> str:
        return f"{name(seq)} lies in a jump at a reconnect that no gap told of"

    verdict.add_all("untold gap", witness.number, jumped, say_jumped)
    verdict.add_all("lost", witness.number, passed, say_passed)
    if settled:
        verdict.add_all("undelivered", witness.number, missing, say_missing)


def _pos(key: int) -> int:
    return key & ((1 << 48) - 1)
