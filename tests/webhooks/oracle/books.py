"""The law of money, pure: what the acknowledged messages tell, held against the tables.

A payment counts once, whatever tells of it; refunds and disputes take back, in whatever order they
come; a subscription is as its newest event says; and each effect is told to its user once.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.webhooks.oracle.model import (
    Back,
    Books,
    Kept,
    Ledger,
    Message,
    Paid,
    Payment,
    Violation,
)

_NUMBER = re.compile(r"[\d,]+")
SIGNS = {"Payment received": 1, "Payment restored": 1, "Payment taken back": -1}
"""Notices about credits: what they say was added, or removed."""


def money(ledger: Ledger, books: Books) -> Iterator[Violation]:
    """Payments and credits are those of the distinct payments, less what is taken back."""
    wanted = _payments(ledger)
    named = {(payment.source, payment.id) for payment in wanted if payment.id}
    # What a payment without an id of its own is called is the server's affair.
    there = Counter(
        payment if (payment.source, payment.id) in named else payment._replace(id="")
        for payment in books.payments
    )
    told = Counter(wanted)
    for payment, count in (told - there).items():
        yield Violation("payment", payment.user, f"{count} missing: {payment}")
    for payment, count in (there - told).items():
        yield Violation("payment", payment.user, f"{count} too many: {payment}")
    sums: Counter[str] = Counter()
    for payment in wanted:
        sums[payment.user] += payment.credits - payment.taken
    for user, total in books.credits.items():
        if total != sums[user]:
            yield Violation("credits", user, f"has {total}, was to have {sums[user]}")
    for user in sums.keys() - books.credits.keys():
        yield Violation("credits", user, "is not there")


def _payments(ledger: Ledger) -> list[Payment]:
    paid: dict[tuple[str, str], Paid] = {}
    backs: dict[tuple[str, str], dict[str, Back]] = defaultdict(dict)
    for message in acknowledged(ledger):
        tells = message.tells
        if isinstance(tells, Paid) and message.matched:
            paid[message.source, tells.payment or f"of {message.id}"] = tells
        elif isinstance(tells, Back):
            known = backs[message.source, tells.payment]
            if tells.id not in known or known[tells.id].at < tells.at:
                known[tells.id] = tells
    found = []
    for (source, name), tells in paid.items():
        held = sum(back.takes for back in backs[source, name].values() if back.held)
        taken = min(tells.credits, held)
        found.append(Payment(source, tells.payment or "", tells.user, tells.credits, taken))
    return found


def subscriptions(ledger: Ledger, books: Books) -> Iterator[Violation]:
    """Each is what its newest event says, by the provider's time, and names that delivery."""
    newest: dict[tuple[str, str], tuple[Kept, Message]] = {}
    for message in acknowledged(ledger):
        if isinstance(message.tells, Kept):
            name = message.source, message.tells.subscription
            if name not in newest or newest[name][0].at < message.tells.at:
                newest[name] = message.tells, message
    ids = {row.id: (row.source, row.message_id) for row in books.rows}
    there = {(row.source, row.id): row for row in books.subscriptions}
    for name, (tells, message) in newest.items():
        row = there.get(name)
        if row is None:
            yield Violation("subscription", " ".join(name), "it is not there")
        elif (row.status, row.at, ids.get(row.delivery)) != (tells.status, tells.at, message.name):
            text = f"is {row}, the newest event is {tells} of {message.id}"
            yield Violation("subscription", " ".join(name), text)
    for name in there.keys() - newest.keys():
        yield Violation("subscription", " ".join(name), "nobody told of it")


def notices(ledger: Ledger, books: Books) -> Iterator[Violation]:
    """One notification for each effect.

    Two refunds that came before their payment are told in one sentence, so of credits it is their
    sum that is held against the account, and the number of payments.
    """
    received: Counter[str] = Counter()
    changed: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    for notice in books.notices:
        if notice.title in SIGNS:
            number = _NUMBER.search(notice.body)
            told = int(number[0].replace(",", "")) if number else 0
            sums[notice.user] += SIGNS[notice.title] * told
            received[notice.user] += notice.title == "Payment received"
        else:
            changed[notice.user] += 1
    payments = Counter(payment.user for payment in books.payments)
    changes = _changes(ledger, books)
    for user, total in books.credits.items():
        if received[user] != payments[user]:
            text = f"was told of {received[user]} payments, and made {payments[user]}"
            yield Violation("notice", user, text)
        if sums[user] != total:
            yield Violation("notice", user, f"was told of {sums[user]} credits, and has {total}")
        if changed[user] != changes[user]:
            text = f"was told of {changed[user]} changes of subscriptions, not {changes[user]}"
            yield Violation("notice", user, text)


def _changes(ledger: Ledger, books: Books) -> Counter[str]:
    """How often a user's subscriptions changed, in the order in which they were handled."""
    rows = {row.id: (row.source, row.message_id) for row in books.rows}
    now: dict[tuple[str, str], Kept] = {}
    count: Counter[str] = Counter()
    for move in sorted(books.handled, key=lambda move: move.at):
        message = ledger.messages.get(rows.get(move.id, ("", "")))
        if message is None or not isinstance(message.tells, Kept):
            continue
        name = message.source, message.tells.subscription
        former = now.get(name)
        if former is None or former.at < message.tells.at:
            now[name] = message.tells
            count[message.tells.user] += former is None or former.status != message.tells.status
    return count


def acknowledged(ledger: Ledger) -> Iterator[Message]:
    """The messages that a sender was told are in."""
    names = {attempt.name for attempt in ledger.attempts if attempt.status == 200}
    return (message for name, message in ledger.messages.items() if name in names)
