"""Each clause of the law, broken by hand: it is found, under its name; what is lawful is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.webhooks.oracle.chaos import judge
from tests.webhooks.oracle.model import (
    Attempt,
    Back,
    Books,
    Effect,
    Form,
    Handled,
    Kept,
    Ledger,
    Message,
    Notice,
    Paid,
    Payment,
    Row,
    Subscription,
)

Case = tuple[Ledger, Books]
FIRST, SECOND = Kept("sub_1", "u", "active", 50), Kept("sub_1", "u", "on_hold", 60)
TELLS: tuple[tuple[Form, str, Paid | Back | Kept | None, bool], ...] = (
    ("dodo", "paid", Paid("u", "pay_1", 100), True),
    ("dodo", "again", Paid("u", "pay_1", 100), True),
    ("dodo text", "text", Paid("u", None, 7), True),
    ("dodo", "back", Back("pay_1", "ref_1", 30, True, 40), True),
    ("dodo", "opened", Back("pay_1", "dis_1", 31, True, 100), True),
    ("dodo", "won", Back("pay_1", "dis_1", 32, False, 100), True),
    ("stripe", "newer", SECOND, True),
    ("stripe", "older", FIRST, True),
    ("dodo", "stranger", Paid("nobody", "pay_2", 5), False),
    ("github", "push", None, True),
)
STATES = {"push": "unhandled", "stranger": "unmatched"}


def lawful() -> Case:
    """Messages that arrived and were handled one after another, each after its 2xx."""
    ledger = Ledger()
    rows, handled, told = [], [], Counter[tuple[str, str]]()
    for number, (form, name, tells, matched) in enumerate(TELLS, 1):
        message = Message(form, name, "type", "key", name.encode(), tells, matched)
        ledger.messages[message.name] = message
        ledger.attempts.append(Attempt(message.name, "a", number, number + 0.2, None))
        ledger.attempts.append(
            Attempt(message.name, "a", number + 0.2, number + 0.3, 200, f"id-{name}")
        )
        state = STATES.get(name, "done")
        row = Row(f"id-{name}", number, message.source, name, "type", "key", state, b"", number)
        rows.append(row._replace(body=message.body))
        handled.append(move(name, state, number + 0.4))
        told[row.id, "webhook.received"] += 1
        told[row.id, f"webhook.{state}"] += 1
    books = Books(
        rows=rows,
        handled=handled,
        effects=[Effect("id-paid", "payments", "x-paid"), Effect("id-back", "refunds", "x-back")],
        credits={"u": 67, "v": 0},
        payments=[Payment("dodo", "pay_1", "u", 100, 40), Payment("dodo", "of text", "u", 7, 0)],
        subscriptions=[Subscription("stripe", "sub_1", "on_hold", 60, "id-newer")],
        notices=[
            Notice("u", "Payment received", "100 credits were added."),
            Notice("u", "Payment received", "7 credits were added."),
            Notice("u", "Payment taken back", "1,040 credits were removed."),
            Notice("u", "Payment restored", "1,000 credits were added."),
            Notice("u", "Subscription on_hold", "pro is now on_hold."),
        ],
        told=told,
    )
    return ledger, books


def move(name: str, state: str, at: float) -> Handled:
    return Handled(f"id-{name}", state, at, at + 0.1, f"x-{name}", "a")


def row_of(books: Books, name: str, **changes: Any) -> Books:
    """The books with one row changed."""
    rows = [row._replace(**changes) if row.message_id == name else row for row in books.rows]
    return replace(books, rows=rows)


def without(books: Books, name: str) -> Books:
    return replace(books, rows=[row for row in books.rows if row.message_id != name])


def attempts(ledger: Ledger, name: str, **changes: Any) -> None:
    """Change the attempts that were acknowledged of a message."""
    for attempt in ledger.attempts:
        if attempt.name[1] == name and attempt.status == 200:
            for field, value in changes.items():
                setattr(attempt, field, value)


def first_again(ledger: Ledger, id_: str) -> None:
    ledger.attempts.append(Attempt(("dodo", "paid"), "b", 30, 31, 200, id_))


def handled_at(books: Books, name: str, began: float) -> Books:
    """One is handled at another time."""
    moves = [
        move(name, item.state, began) if item.id == f"id-{name}" else item for item in books.handled
    ]
    return replace(books, handled=moves)


def again(books: Books, kind: str, index: int = 0) -> Books:
    """One of the books' rows stands there twice."""
    found = list(getattr(books, kind))
    changes: dict[str, Any] = {kind: [*found, found[index]]}
    return replace(books, **changes)


def less(books: Books, kind: str) -> Books:
    changes: dict[str, Any] = {kind: list(getattr(books, kind))[1:]}
    return replace(books, **changes)


def refused(ledger: Ledger, books: Books) -> Books:
    ledger.attempts.append(Attempt(("dodo", "paid"), "b", 30, 31, 401))
    return books


def never(ledger: Ledger, books: Books) -> Books:
    attempts(ledger, "push", status=503)
    return books


def second_id(ledger: Ledger, books: Books) -> Books:
    first_again(ledger, "id-other")
    return books


def foreign_id(ledger: Ledger, books: Books) -> Books:
    attempts(ledger, "paid", id="id-push")
    return books


def phantom(ledger: Ledger, books: Books) -> Books:
    del ledger.messages["github", "push"]
    return books


Break = Callable[[Ledger, Books], Books]
BROKEN: dict[str, tuple[Break, set[str]]] = {
    "acknowledged and not there": (lambda _, b: without(b, "push"), {"lost"}),
    "stored twice": (
        lambda _, b: replace(b, rows=[*b.rows, b.rows[-1]._replace(id="id-paid", seq=99)]),
        {"twice", "told"},
    ),
    "acknowledged under two ids": (second_id, {"ids"}),
    "acknowledged under another's id": (foreign_id, {"ids"}),
    "other bytes": (lambda _, b: row_of(b, "paid", body=b"?"), {"bytes"}),
    "another key": (lambda _, b: row_of(b, "push", key="?"), {"bytes"}),
    "sent by nobody": (phantom, {"phantom"}),
    "told to be wrong": (refused, {"refused"}),
    "never acknowledged": (never, {"unfinished"}),
    "never handled": (lambda _, b: row_of(b, "push", state="pending"), {"unfinished", "told"}),
    "given up": (lambda _, b: row_of(b, "push", state="dead"), {"state", "told"}),
    "a payment of ours unmatched": (
        lambda _, b: row_of(b, "paid", state="unmatched"),
        {"state", "told"},
    ),
    "the newest of a dispute unmatched": (
        lambda _, b: row_of(b, "won", state="unmatched"),
        {"state", "told"},
    ),
    "handled twice": (lambda _, b: again(b, "handled"), {"state"}),
    "a state told twice": (lambda _, b: replace(b, told=b.told + b.told), {"told"}),
    "out of order": (lambda _, b: handled_at(b, "paid", 20.0), {"order"}),
    "an effect apart": (
        lambda _, b: replace(b, effects=[Effect("id-paid", "payments", "x-other")]),
        {"apart"},
    ),
    "an effect of what was never handled": (
        lambda _, b: replace(b, effects=[Effect("id-unknown", "payments", "x-paid")]),
        {"apart"},
    ),
    "credits twice": (lambda _, b: replace(b, credits={"u": 167, "v": 0}), {"credits", "notice"}),
    "credits for nothing": (
        lambda _, b: replace(b, credits={"u": 67, "v": 1}),
        {"credits", "notice"},
    ),
    "a user lost": (lambda _, b: replace(b, credits={}), {"credits"}),
    "a payment lost": (lambda _, b: less(b, "payments"), {"payment", "notice"}),
    "a payment twice": (lambda _, b: again(b, "payments", 1), {"payment", "notice"}),
    "a refund lost": (
        lambda _, b: replace(b, payments=[b.payments[0]._replace(taken=0), b.payments[1]]),
        {"payment"},
    ),
    "a subscription lost": (lambda _, b: less(b, "subscriptions"), {"subscription"}),
    "a subscription of the past": (
        lambda _, b: replace(
            b, subscriptions=[Subscription("stripe", "sub_1", "active", 50, "id-older")]
        ),
        {"subscription"},
    ),
    "a subscription by another delivery": (
        lambda _, b: replace(
            b, subscriptions=[b.subscriptions[0]._replace(delivery="id-older")]
        ),
        {"subscription"},
    ),
    "a subscription of nobody": (
        lambda _, b: replace(
            b, subscriptions=[*b.subscriptions, b.subscriptions[0]._replace(id="sub_2")]
        ),
        {"subscription"},
    ),
    "a notification lost": (lambda _, b: less(b, "notices"), {"notice"}),
    "a notification twice": (lambda _, b: again(b, "notices"), {"notice"}),
    "a change told twice": (lambda _, b: again(b, "notices", 4), {"notice"}),
}  # fmt: skip


def test_what_is_lawful_is_not_accused() -> None:
    assert judge(*lawful()) == []


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_clause_is_found(name: str) -> None:
    ledger, books = lawful()
    spoil, kinds = BROKEN[name]
    assert {found.kind for found in judge(ledger, spoil(ledger, books))} == kinds


def test_what_came_before_its_2xx_may_be_passed_over() -> None:
    ledger, books = lawful()
    attempts(ledger, "paid", ended=19.0)
    assert judge(ledger, handled_at(books, "paid", 20.0)) == []


def test_one_transaction_may_handle_several_in_any_order() -> None:
    ledger, books = lawful()
    moves = [item._replace(xid="x", began=20.0) for item in handled_at(books, "paid", 20.0).handled]
    one = replace(books, handled=moves, effects=[])
    assert judge(ledger, one) == []


def test_what_a_newer_one_replaced_before_the_payment_came_is_done_as_well() -> None:
    ledger, books = lawful()
    told = books.told - Counter({("id-opened", "webhook.done"): 1})
    told["id-opened", "webhook.unmatched"] = 1
    found = judge(ledger, replace(row_of(books, "opened", state="unmatched"), told=told))
    assert [violation.kind for violation in found] == ["state"]


def test_a_refund_of_a_payment_that_never_came_is_unmatched() -> None:
    ledger, books = lawful()
    back = Message("dodo", "lone", "type", "key", b"", Back("pay_9", "ref_9", 1, True, 5))
    ledger.messages[back.name] = back
    ledger.attempts.append(Attempt(back.name, "a", 20, 21, 200, "id-lone"))
    row = Row("id-lone", 50, "dodo", "lone", "type", "key", "unmatched", b"", 20)
    told = books.told + Counter(
        {("id-lone", "webhook.received"): 1, ("id-lone", "webhook.unmatched"): 1}
    )
    assert judge(ledger, replace(books, rows=[*books.rows, row], told=told)) == []
