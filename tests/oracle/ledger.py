"""The law of the log, pure: what writers did, held against the rows that came of it.

Every committed event is in the log exactly once and no rolled-back one ever is; events of one
transaction keep their order; an event emitted after another transaction's commit was
acknowledged stands behind that one's events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from tests.oracle.model import Kind, Row, Violation

Outcome = Literal["open", "committed", "aborted", "maybe"]


class Item(NamedTuple):
    """An event that a writer made: `name` is `<type>:<key>`, and no other event has it.

    `issued`: when its statement was about to be sent. `given`: the message id that the writer
    chose, by which a repeat is told from a second event.
    """

    name: str
    issued: float
    given: str | None = None


@dataclass(slots=True)
class Transaction:
    """What one writer did at once. `maybe`: it was to be committed, and no answer came."""

    writer: str
    outcome: Outcome = "open"
    began: float = 0.0
    acked: float | None = None
    items: list[Item] = field(default_factory=list)
    ids: dict[str, str] = field(default_factory=dict)
    """Message ids as the server answered them, by name."""


@dataclass(slots=True)
class Ledger:
    """All that the writers did."""

    transactions: list[Transaction] = field(default_factory=list)

    def begin(self, writer: str, at: float) -> Transaction:
        """A new transaction."""
        self.transactions.append(Transaction(writer, began=at))
        return self.transactions[-1]

    @property
    def in_flight(self) -> int:
        """Transactions that have begun and not ended."""
        return sum(item.outcome == "open" for item in self.transactions[-200:])


def audit(rows: Mapping[int, Row], ledger: Ledger) -> list[Violation]:
    """Every violation in the log itself."""
    return Audit(rows, ledger).run()


class Audit:
    """One look at the whole log."""

    def __init__(self, rows: Mapping[int, Row], ledger: Ledger) -> None:
        self._rows = rows
        self._ledger = ledger
        self._found: list[Violation] = []
        self._pos: dict[str, int] = {}
        self._by_id: dict[str, int] = {}

    def run(self) -> list[Violation]:
        """Look at everything."""
        self._index()
        claims: dict[str, list[tuple[Item, Transaction]]] = {}
        for transaction in self._ledger.transactions:
            for item in transaction.items:
                if item.given is not None:
                    claims.setdefault(item.given, []).append((item, transaction))
                else:
                    self._plain(item, transaction)
            self._ids(transaction)
            self._in_order(transaction)
        for given, claimed in claims.items():
            self._given(given, claimed)
        self._causality()
        return self._found

    def _violate(self, kind: Kind, who: str, what: str) -> None:
        self._found.append(Violation(kind, who, what))

    def _index(self) -> None:
        """Positions are dense; names and message ids are unique, and known."""
        for expected, pos in enumerate(sorted(self._rows), 1):
            if pos != expected:
                self._violate("hole", "log", f"{expected} is missing before {pos}")
                break
        known = {item.name for one in self._ledger.transactions for item in one.items}
        for pos, row in self._rows.items():
            name = f"{row.type}:{row.key}"
            for index, value in ((self._pos, name), (self._by_id, row.message_id)):
                if value in index:
                    self._violate("repeated", "log", f"{value} at {index[value]} and {pos}")
                index[value] = pos
            if name not in known:
                self._violate("unknown", "log", f"{name} at {pos} was written by nobody")

    def _plain(self, item: Item, transaction: Transaction) -> None:
        there = item.name in self._pos
        if transaction.outcome == "committed" and not there:
            self._violate("missing", transaction.writer, f"{item.name} was committed")
        if transaction.outcome == "aborted" and there:
            self._violate("leaked", transaction.writer, f"{item.name} was rolled back")

    def _given(self, given: str, claimed: Sequence[tuple[Item, Transaction]]) -> None:
        """Of all that were published under one message id, one became an event."""
        row = self._rows.get(self._by_id.get(given, 0))
        if row is None:
            if any(transaction.outcome == "committed" for _, transaction in claimed):
                self._violate("missing", claimed[0][1].writer, f"message {given} was committed")
            return
        name = f"{row.type}:{row.key}"
        winners = [one.outcome for item, one in claimed if item.name == name]
        if not winners or all(outcome == "aborted" for outcome in winners):
            self._violate("leaked", claimed[0][1].writer, f"message {given} is {name}")
        for item, transaction in claimed:
            if item.name != name and item.name in self._pos:
                self._violate("repeated", transaction.writer, f"{item.name} beside {name}")

    def _ids(self, transaction: Transaction) -> None:
        """What the writer was told is the event's message id is it."""
        for name, answered in transaction.ids.items():
            pos = self._pos.get(name)
            if pos is not None and self._rows[pos].message_id != answered:
                self._violate("untrue", transaction.writer, f"{name} was answered {answered}")

    def _in_order(self, transaction: Transaction) -> None:
        found = [self._pos[item.name] for item in transaction.items if item.name in self._pos]
        if found != sorted(found):
            self._violate("causality", transaction.writer, f"a transaction's events at {found}")

    def _causality(self) -> None:
        """In order of time: nothing issued later stands before what was acknowledged."""
        steps: list[tuple[float, int, int, str]] = []
        for transaction in self._ledger.transactions:
            highest = 0
            for item in transaction.items:
                pos = self._pos.get(item.name)
                if pos is not None:
                    steps.append((item.issued, 0, pos, item.name))
                    highest = max(highest, pos)
            if transaction.outcome == "committed" and transaction.acked is not None and highest:
                steps.append((transaction.acked, 1, highest, transaction.writer))
        floor, by = 0, ""
        for _, acked, pos, name in sorted(steps):
            if acked and pos > floor:
                floor, by = pos, name
            elif not acked and pos < floor:
                self._violate("causality", "log", f"{name} at {pos}, after {by} had {floor}")
