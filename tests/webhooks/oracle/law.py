"""The law of deliveries, pure: what senders were told, held against what is stored.

Every 2xx has exactly one row, with the bytes that were sent; every message has one id, whoever
delivers it, however often, to whichever process. In the end each is handled, of one key in the
order of arrival. What handling does to money stands in books.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from tests.webhooks.oracle.model import (
    Back,
    Books,
    Handled,
    Ledger,
    Message,
    Paid,
    Row,
    Violation,
)

LATER = frozenset({408, 429, 500, 502, 503, 504})
"""Answers after which a sender tries again."""


def stored(ledger: Ledger, books: Books) -> Iterator[Violation]:
    """Each acknowledged message is there once, as it was sent, under the id that was told."""
    rows: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in books.rows:
        rows[row.source, row.message_id].append(row)
    told = _ids_told(ledger)
    for name, message in ledger.messages.items():
        found, ids = rows.get(name, []), told.get(name, set())
        who = f"{message.form} {message.id}"
        if ids and not found:
            yield Violation("lost", who, f"it was acknowledged as {sorted(ids)}")
        if len(found) > 1:
            yield Violation("twice", who, f"it is stored as {sorted(row.id for row in found)}")
        if len(ids) > 1:
            yield Violation("ids", who, f"it was acknowledged as {sorted(ids)}")
        elif found and not ids <= {row.id for row in found}:
            yield Violation("ids", who, f"{sorted(ids)} was told, it is {found[0].id}")
        for row in found:
            yield from _as_sent(message, row)
    for name in rows.keys() - ledger.messages.keys():
        yield Violation("phantom", " ".join(name), "nobody sent it")


def _ids_told(ledger: Ledger) -> dict[tuple[str, str], set[str]]:
    told: dict[tuple[str, str], set[str]] = defaultdict(set)
    for attempt in ledger.attempts:
        if attempt.status == 200 and attempt.id is not None:
            told[attempt.name].add(attempt.id)
    return told


def _as_sent(message: Message, row: Row) -> Iterator[Violation]:
    for what in ("body", "type", "key"):
        there, sent = getattr(row, what), getattr(message, what)
        if there != sent:
            text = f"{what} is {there!r:.200}, it was sent as {sent!r:.200}"
            yield Violation("bytes", f"{message.form} {message.id}", text)


def answered(ledger: Ledger) -> Iterator[Violation]:
    """Nobody is told that a lawful delivery is wrong, and in the end all are acknowledged."""
    acknowledged = set()
    for attempt in ledger.attempts:
        if attempt.status == 200:
            acknowledged.add(attempt.name)
        elif attempt.status is not None and attempt.status not in LATER:
            yield Violation("refused", " ".join(attempt.name), f"the answer was {attempt.status}")
    for name in ledger.messages.keys() - acknowledged:
        yield Violation("unfinished", " ".join(name), "it was never acknowledged")


def finished(ledger: Ledger, books: Books) -> Iterator[Violation]:
    """Everything is handled, once, to the state that it should have, and each state was told."""
    moves: dict[str, list[Handled]] = defaultdict(list)
    for move in books.handled:
        moves[move.id].append(move)
    messages = ledger.messages.values()
    paid = _paid(messages)
    for row in books.rows:
        who, message = f"{row.source} {row.message_id}", ledger.messages.get(_name(row))
        if row.state == "pending":
            yield Violation("unfinished", who, "it is pending")
        elif message is not None and row.state not in _states(message, paid):
            yield Violation("state", who, f"{row.type} came to be {row.state}")
        if len(moves[row.id]) > 1:
            times = [(move.process, move.state) for move in moves[row.id]]
            yield Violation("state", who, f"it was handled {len(times)} times: {times}")
        for type_ in ("webhook.received", f"webhook.{row.state}"):
            if books.told[row.id, type_] != 1:
                yield Violation("told", who, f"{type_}: {books.told[row.id, type_]} times")


def _paid(messages: Iterable[Message]) -> set[tuple[str, str | None]]:
    """The payments that give credits; the run may have ended before a refund's was sent."""
    return {
        (message.source, message.tells.payment)
        for message in messages
        if isinstance(message.tells, Paid) and message.matched
    }


def _states(message: Message, paid: set[tuple[str, str | None]]) -> set[str]:
    tells = message.tells
    if tells is None:
        return {"unhandled"}
    if not message.matched:
        return {"unmatched"}
    if isinstance(tells, Back) and (message.source, tells.payment) not in paid:
        return {"unmatched"}
    return {"done"}


def together(books: Books) -> Iterator[Violation]:
    """What a handler wrote was committed with its delivery's state, or not at all."""
    moves: dict[str, set[str]] = defaultdict(set)
    for move in books.handled:
        moves[move.id].add(move.xid)
    for effect in books.effects:
        if effect.xid not in moves[effect.delivery]:
            text = f"its row in {effect.table} was committed by another transaction than its state"
            yield Violation("apart", effect.delivery, text)


def in_order(ledger: Ledger, books: Books) -> Iterator[Violation]:
    """Of one key nothing is handled while something that had arrived before still waits.

    What had arrived: a sender held its 2xx before the transaction that passed over it began, so
    that transaction had to see it; and it was handled after it. The order of arrival is `seq`.
    """
    arrived: dict[str, float] = {}
    for attempt in ledger.attempts:
        if attempt.status == 200 and attempt.id is not None and attempt.ended is not None:
            arrived[attempt.id] = min(arrived.get(attempt.id, attempt.ended), attempt.ended)
    rows = {row.id: row for row in books.rows if row.key is not None}
    keys: dict[tuple[str, str | None], list[tuple[Row, Handled]]] = defaultdict(list)
    for move in books.handled:
        if move.id in rows:
            keys[rows[move.id].source, rows[move.id].key].append((rows[move.id], move))
    for (source, key), moves in keys.items():
        moves.sort(key=lambda pair: pair[1].at)
        for index, (later, move) in enumerate(moves):
            for earlier, other in moves[index + 1 :]:
                passed = earlier.seq < later.seq and other.xid != move.xid
                if passed and arrived.get(earlier.id, move.began) < move.began:
                    text = f"{later.type} ({later.seq}) came before {earlier.type} ({earlier.seq})"
                    yield Violation("order", f"{source} {key}", text)


def _name(row: Row) -> tuple[str, str]:
    return row.source, row.message_id
