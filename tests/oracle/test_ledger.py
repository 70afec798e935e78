"""The law of the log by hand-made rows: what is lawful passes, and each violation has its name."""

from __future__ import annotations

import pytest

from tests.oracle.ledger import Item, Ledger, Outcome, Transaction, audit
from tests.oracle.model import Row


def log(*names: str, ids: dict[str, str] | None = None) -> dict[int, Row]:
    rows = {}
    for pos, name in enumerate(names, 1):
        type_, _, key = name.partition(":")
        rows[pos] = Row(pos, "c", type_, key, "", (ids or {}).get(name, f"id-{name}"), "1")
    return rows


def wrote(
    outcome: Outcome, *names: str, issued: float = 0, acked: float = 9, given: str | None = None
) -> Transaction:
    items = [Item(name, issued, given) for name in names]
    return Transaction("w", outcome, 0, acked if outcome == "committed" else None, items)


def kinds(rows: dict[int, Row], *transactions: Transaction) -> list[str]:
    return [found.kind for found in audit(rows, Ledger(list(transactions)))]


def test_what_was_committed_is_there_and_what_was_rolled_back_is_not() -> None:
    rows = log("t:1", "t:2")
    assert kinds(rows, wrote("committed", "t:1", "t:2"), wrote("aborted", "t:3")) == []


def test_an_unknown_outcome_may_be_either() -> None:
    assert kinds(log("t:1"), wrote("maybe", "t:1"), wrote("maybe", "t:2")) == []


def test_a_committed_event_must_not_be_missing() -> None:
    assert kinds(log("t:1"), wrote("committed", "t:1", "t:2")) == ["missing"]


def test_a_rolled_back_event_must_not_leak() -> None:
    assert kinds(log("t:1"), wrote("aborted", "t:1")) == ["leaked"]


def test_an_event_must_not_be_there_twice() -> None:
    rows = log("t:1", "t:1", ids={})
    assert kinds(rows, wrote("committed", "t:1")) == ["repeated", "repeated"]


def test_an_event_must_be_somebodys() -> None:
    assert kinds(log("t:1")) == ["unknown"]


def test_positions_are_dense() -> None:
    rows = log("t:1", "t:2", "t:3")
    del rows[2]
    assert kinds(rows, wrote("committed", "t:1", "t:3")) == ["hole"]


def test_a_transaction_keeps_its_order() -> None:
    assert kinds(log("t:2", "t:1"), wrote("committed", "t:1", "t:2")) == ["causality"]


def test_events_of_another_transaction_may_stand_between() -> None:
    rows = log("t:1", "u:1", "t:2")
    assert kinds(rows, wrote("committed", "t:1", "t:2"), wrote("committed", "u:1")) == []


def test_what_was_issued_after_an_acknowledged_commit_stands_behind_it() -> None:
    first = wrote("committed", "t:1", issued=1, acked=2)
    later = wrote("committed", "t:2", issued=3, acked=4)
    assert kinds(log("t:1", "t:2"), first, later) == []
    assert kinds(log("t:2", "t:1"), first, later) == ["causality"]


def test_concurrent_transactions_may_stand_in_either_order() -> None:
    first = wrote("committed", "t:1", issued=1, acked=5)
    second = wrote("committed", "t:2", issued=3, acked=4)
    assert kinds(log("t:2", "t:1"), first, second) == []


@pytest.mark.parametrize("winner", ["t:1", "t:2"])
def test_of_a_repeated_message_id_one_event_comes(winner: str) -> None:
    both = wrote("maybe", "t:1", given="m"), wrote("committed", "t:2", given="m")
    assert kinds(log(winner, ids={winner: "m"}), *both) == []


def test_a_repeated_message_id_must_not_emit_again() -> None:
    both = wrote("committed", "t:1", given="m"), wrote("committed", "t:2", given="m")
    assert kinds(log("t:1", "t:2", ids={"t:1": "m"}), *both) == ["repeated"]


def test_a_message_id_that_was_committed_must_not_be_missing() -> None:
    assert kinds({}, wrote("committed", "t:1", given="m")) == ["missing"]


def test_a_message_id_must_not_come_from_a_rollback() -> None:
    aborted = wrote("aborted", "t:1", given="m")
    assert kinds(log("t:1", ids={"t:1": "m"}), aborted) == ["leaked"]


def test_the_answered_message_id_is_the_events() -> None:
    transaction = wrote("committed", "t:1")
    transaction.ids = {"t:1": "another"}
    assert kinds(log("t:1"), transaction) == ["untrue"]
