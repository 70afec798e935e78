"""The law, pure: what each client received, held against what was published.

A client must have exactly the events of its channels whose position is after the one it started
from: in order, each once, over all its connections, except for what a `gap` told it that it
misses. Every id is a claim that all before it has come, so an id-only block is judged as well.

What was received is a bit for each event, so that a long run with many clients fits in memory.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

from scripts.load.ledger import Channel, Ledger
from scripts.load.wire import Event

Kind = Literal[
    "lost", "undelivered", "duplicate", "disorder", "untold gap", "told gap", "stray", "malformed"
]
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
        "cursor", "faults", "gaps", "jumps", "number", "seen", "sent", "start", "told", "wanted",
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

    def _room(self, channel: int, index: int) -> bytearray | None:
        if channel not in self.wanted:
            self.fault("stray", f"an event of channel {channel}, which it did not ask for")
            return None
        seen = self.seen.setdefault(channel, bytearray())
        seen.extend(bytes(index + 32 - len(seen)))
        return seen

    def mark(self, key: int) -> None:
        """An id without an event of ours."""
        self.cursor = max(self.cursor, key)

    def ready(self, key: int | None, ledger: Ledger) -> None:
        """A connection's first block."""
        if key is None:
            return  # a gap follows, and tells where
        if self.start is None:
            self._begin(key, ledger)
        elif key > self.cursor:
            self.jumps.append((self.cursor, key))
        self.mark(key)

    def gap(self, key: int, ledger: Ledger) -> None:
        """It is told that it misses what is up to `key`."""
        if self.start is None:
            self._begin(key, ledger)
        self.gaps.append((self.cursor, key))
        self.mark(key)

    def _begin(self, key: int, ledger: Ledger) -> None:
        self.start = key
        self.sent = {
            number: len(ledger.channels[number].due)
            for number in self.wanted
            if ledger.channels[number].due
        }


def _name(event: Event) -> str:
    seq = event.byte * 8 + event.mask.bit_length() - 1
    return f"event {seq} of channel {event.channel}"


class _Order:
    """A channel's events in the order of their positions; and who must have which, as bits."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        placed = sorted((key, seq) for seq, key in enumerate(channel.keys) if key)
        self.keys = [key for key, _ in placed]
        self.seqs = [seq for _, seq in placed]
        # Committed, and nobody has it.
        self.nowhere = [s for s, key in enumerate(channel.keys) if not key and channel.acked[s]]
        self._masks: dict[tuple[int, int], int] = {}

    def expected(self, start: int, sent: int) -> int:
        """Bits of what a client must have that started at `start`, after `sent` were sent."""
        first = bisect_right(self.keys, start)
        mine = [seq for seq in self.nowhere if seq >= sent]
        at = (first, mine[0] if mine else -1)
        if at not in self._masks:
            bits = bytearray(len(self.channel.keys) // 8 + 1)
            for seq in (*self.seqs[first:], *mine):
                bits[seq >> 3] |= 1 << (seq & 7)
            self._masks[at] = int.from_bytes(bits, "little")
        return self._masks[at]


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


def judge(
    ledger: Ledger, witnesses: Collection[Witness], *, settled: bool = True, gaps: bool = True
) -> Verdict:
    """Judge all clients that have ever started.

    `settled`: the run was waited for, so what has not come is missing. `gaps`: a told gap is no
    violation.
    """
    verdict = Verdict()
    orders = [_Order(channel) for channel in ledger.channels]
    for witness in witnesses:
        if witness.start is None:
            continue
        before = verdict.counts.total()
        verdict.clients += 1
        verdict.gaps += len(witness.gaps)
        _own(verdict, witness)
        for number in witness.wanted:
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
    verdict: Verdict, witness: Witness, number: int, order: _Order, *, settled: bool
) -> None:
    """What should be there and is not, and why."""
    expected = order.expected(witness.start or 0, witness.sent.get(number, 0))
    verdict.expected += expected.bit_count()
    missing = expected & ~int.from_bytes(witness.seen.get(number, b""), "little")
    while missing:
        seq = (missing & -missing).bit_length() - 1
        missing &= missing - 1
        key = order.channel.keys[seq]
        what = f"event {seq} of channel {number}"
        if any(after < key <= resumed for after, resumed in witness.gaps):
            verdict.told += 1
        elif any(after < key <= at for after, at in witness.jumps):
            what += " lies in a jump at a reconnect that no gap told of"
            verdict.add(Violation("untold gap", witness.number, what))
        elif 0 < key <= witness.cursor:
            what += f", passed over: its last id is {_pos(witness.cursor)}, the event's {_pos(key)}"
            verdict.add(Violation("lost", witness.number, what))
        elif settled:
            what += " was committed and never came" if key else " came to nobody"
            verdict.add(Violation("undelivered", witness.number, what))


def _pos(key: int) -> int:
    return key & ((1 << 48) - 1)
