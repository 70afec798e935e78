"""The law, against histories in which something was planted."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from scripts.load.crowd import Crowd
from scripts.load.judge import Verdict, Witness, judge
from scripts.load.ledger import Ledger
from scripts.load.meter import Meter
from scripts.load.options import parse, resolve
from scripts.load.wire import Event, Moved, Stray

EVENTS = 40
FIRST = 1_000


def key(ledger: Ledger, pos: int, epoch: bytes = b"e") -> int:
    found = ledger.epochs.key(epoch + b".%d" % pos)
    assert found is not None
    return found


def book(channels: int = 1, events: int = EVENTS) -> tuple[Ledger, list[Event]]:
    """Everything published and committed in turn, the positions two apart: others write, too."""
    ledger = Ledger("0123456789ab", channels)
    made: list[Event] = []
    for number in range(events):
        channel = number % channels
        seq = ledger.channels[channel].publish(number)
        ledger.channels[channel].acknowledge(seq)
        at = key(ledger, FIRST + 2 * number)
        ledger.channels[channel].place(seq, at)
        made.append(Event(at, channel, seq >> 3, 1 << (seq & 7), number))
    return ledger, made


def started(ledger: Ledger, pos: int = FIRST - 1, number: int = 0) -> Witness:
    witness = Witness(number, range(len(ledger.channels)))
    witness.ready(key(ledger, pos), ledger)
    witness.sent = {}  # it was there before anything was sent
    return witness


def told(ledger: Ledger, *witnesses: Witness, settled: bool = True, gaps: bool = True) -> Verdict:
    return judge(ledger, witnesses, settled=settled, gaps=gaps)


def test_all_in_order_is_exact() -> None:
    ledger, events = book()
    witness = started(ledger)
    for event in events:
        witness.event(event)
    verdict = told(ledger, witness)
    assert verdict.exact
    assert (verdict.expected, verdict.clients, verdict.harmed) == (EVENTS, 1, 0)


def test_what_came_before_its_start_is_not_a_clients() -> None:
    ledger, events = book()
    witness = started(ledger, FIRST + 2 * 10)
    for event in events[11:]:
        witness.event(event)
    verdict = told(ledger, witness)
    assert verdict.exact
    assert verdict.expected == EVENTS - 11


def test_exact_over_reconnects() -> None:
    ledger, events = book()
    witness = started(ledger)
    for number, event in enumerate(events):
        if number % 7 == 0:
            witness.ready(witness.cursor, ledger)
        witness.event(event)
        if number % 5 == 0:
            witness.mark(event.key + 1)
    assert told(ledger, witness).exact


Planted = Callable[[list[Event], int], list[Event]]


def drop(events: list[Event], at: int) -> list[Event]:
    return events[:at] + events[at + 1 :]


def double(events: list[Event], at: int) -> list[Event]:
    return [*events[: at + 1], events[at], *events[at + 1 :]]


def again_later(events: list[Event], at: int) -> list[Event]:
    return [*events, events[at]]


def swap(events: list[Event], at: int) -> list[Event]:
    return [*events[:at], events[at + 1], events[at], *events[at + 2 :]]


@pytest.mark.parametrize("at", [0, 1, 8, 17, EVENTS - 2])
@pytest.mark.parametrize(
    ("plant", "kind"),
    [(drop, "lost"), (double, "duplicate"), (again_later, "duplicate"), (swap, "disorder")],
)
def test_one_fault_is_found_once_and_named(plant: Planted, kind: str, at: int) -> None:
    ledger, events = book()
    healthy, harmed = started(ledger, number=0), started(ledger, number=7)
    for event in events:
        healthy.event(event)
    for event in plant(events, at):
        harmed.event(event)
    verdict = told(ledger, healthy, harmed)
    assert dict(verdict.counts) == {kind: 1}
    assert verdict.harmed == 1
    [example] = verdict.examples[kind]  # type: ignore[index]
    assert example.client == 7
    assert f"event {at} of channel 0" in example.what


def test_the_last_one_missing_is_undelivered_once_everybody_was_waited_for() -> None:
    ledger, events = book()
    witness = started(ledger)
    for event in events[:-1]:
        witness.event(event)
    assert dict(told(ledger, witness).counts) == {"undelivered": 1}
    assert told(ledger, witness, settled=False).exact


def test_an_id_only_block_claims_all_before_it() -> None:
    ledger, events = book()
    witness = started(ledger)
    for event in events[:-1]:
        witness.event(event)
    witness.mark(events[-1].key)
    assert dict(told(ledger, witness, settled=False).counts) == {"lost": 1}


def test_a_jump_at_a_reconnect_without_a_gap_is_told_as_such() -> None:
    ledger, events = book()
    witness = started(ledger)
    for event in events[:10]:
        witness.event(event)
    witness.ready(events[12].key, ledger)
    for event in events[13:]:
        witness.event(event)
    assert dict(told(ledger, witness).counts) == {"untold gap": 3}


def test_a_jump_over_nothing_of_ours_is_none() -> None:
    ledger, events = book()
    witness = started(ledger)
    for event in events[:10]:
        witness.event(event)
    witness.ready(events[9].key + 1, ledger)
    for event in events[10:]:
        witness.event(event)
    assert told(ledger, witness).exact


def test_a_told_gap_covers_what_it_says_and_no_more() -> None:
    ledger, events = book()
    witness = started(ledger)
    for event in events[:10]:
        witness.event(event)
    witness.ready(None, ledger)
    witness.gap(events[12].key, ledger)
    for event in events[13:20]:
        witness.event(event)
    for event in events[21:]:
        witness.event(event)
    verdict = told(ledger, witness)
    assert dict(verdict.counts) == {"lost": 1}
    assert (verdict.gaps, verdict.told) == (1, 3)
    assert dict(told(ledger, witness, gaps=False).counts) == {"lost": 1, "told gap": 1}


def test_an_event_published_twice_is_a_duplicate() -> None:
    ledger, events = book()
    witness = started(ledger)
    for event in events:
        witness.event(event)
    witness.event(events[5]._replace(key=events[-1].key + 1))
    assert dict(told(ledger, witness).counts) == {"duplicate": 1}


def test_what_was_committed_and_came_to_nobody_is_missed_by_all_who_were_there() -> None:
    ledger, events = book()
    early = started(ledger, number=1)
    for event in events:
        early.event(event)
    seq = ledger.channels[0].publish(0)
    late = Witness(2, range(1))
    late.ready(events[-1].key, ledger)  # it began when that one was on its way
    ledger.channels[0].acknowledge(seq)
    verdict = told(ledger, early, late)
    assert dict(verdict.counts) == {"undelivered": 1}
    assert verdict.examples["undelivered"][0].client == 1


def test_what_was_never_acknowledged_and_came_to_nobody_is_no_loss() -> None:
    ledger, events = book()
    witness = started(ledger)
    for event in events:
        witness.event(event)
    ledger.channels[0].publish(0)
    assert told(ledger, witness).exact


def test_an_event_of_another_channel_is_astray() -> None:
    ledger, events = book(channels=2)
    witness = Witness(0, range(1))
    witness.ready(key(ledger, FIRST - 1), ledger)
    witness.sent = {}
    for event in events[:4]:
        witness.event(event)
    for event in events[4:]:
        if event.channel == 0:
            witness.event(event)
    assert dict(told(ledger, witness).counts) == {"stray": 2}


def test_a_new_epoch_lies_above_the_old_one() -> None:
    ledger, _ = book()
    assert key(ledger, 1, b"new") > key(ledger, 10**9, b"e")
    assert ledger.epochs.text(key(ledger, 17, b"new")) == "new.17"
    assert ledger.epochs.key(b"nothing") is None
    assert ledger.epochs.key(b"e.x") is None


def test_whatever_is_planted_is_counted() -> None:
    """Many clients, each with a fault of a known kind, or none."""
    dice = random.Random(5)
    ledger, events = book(events=200)
    plants: list[tuple[Planted, str]] = [
        (drop, "lost"), (double, "duplicate"), (swap, "disorder"), (lambda it, _: it, ""),
    ]  # fmt: skip
    witnesses, expected = [], {"lost": 0, "duplicate": 0, "disorder": 0, "": 0}
    for number in range(300):
        plant, kind = dice.choice(plants)
        witness = started(ledger, number=number)
        for event in plant(events, dice.randrange(198)):
            witness.event(event)
        expected[kind] += 1
        witnesses.append(witness)
    verdict = told(ledger, *witnesses)
    assert verdict.harmed == 300 - expected.pop("")
    assert dict(verdict.counts) == expected
    assert all(len(examples) == 5 for examples in verdict.examples.values())


def test_a_ready_without_an_id_needs_a_gap() -> None:
    ledger, events = book()
    silent, goes_on, marked, gone = (Witness(number, range(1)) for number in range(4))
    for witness in (silent, goes_on, marked, gone):
        witness.ready(None, ledger)
    for event in events:
        goes_on.event(event)
    marked.mark(events[0].key)
    gone.waiting = False  # its connection was lost at once: it is not ready
    verdict = told(ledger, silent, goes_on, marked, gone)
    assert dict(verdict.counts) == {"malformed": 3}
    assert (verdict.clients, verdict.harmed) == (3, 3)


def test_a_gap_covers_what_came_to_nobody_and_is_not_waited_for() -> None:
    options = parse(["fanout", "--clients", "2"], {})
    ledger, events = book()
    crowd = Crowd(options, resolve(options, "http://127.0.0.1:1"), ledger, Meter(None))
    first, second = (client.witness for client in crowd.clients)
    for witness in (first, second):
        witness.ready(key(ledger, FIRST - 1), ledger)
        witness.sent = {}
        for event in events:
            witness.event(event)
    assert crowd.settled()
    channel = ledger.channels[0]
    channel.acknowledge(channel.publish(0))
    assert not crowd.settled()
    first.ready(None, ledger)
    first.gap(events[-1].key + 10, ledger)
    assert not crowd.settled()
    assert dict(told(ledger, first, second).counts) == {"undelivered": 1}
    second.ready(None, ledger)
    second.gap(events[-1].key + 10, ledger)
    assert crowd.settled()
    verdict = told(ledger, first, second)
    assert verdict.exact
    assert verdict.told == 2
    channel.acknowledge(channel.publish(0))  # after both gaps
    assert not crowd.settled()
    assert dict(told(ledger, first, second).counts) == {"undelivered": 2}


def test_what_stands_at_another_position_for_somebody_else_has_moved() -> None:
    ledger, events = book()
    witness = started(ledger)
    for event in events[:-1]:
        witness.event(event)
    last = events[-1]
    witness.moved(Moved(last._replace(key=last.key + 1), last.key))
    assert dict(told(ledger, witness).counts) == {"moved": 1}
    witness.moved(Moved(last._replace(key=last.key + 2), last.key))
    assert dict(told(ledger, witness).counts) == {"moved": 1, "duplicate": 1}


def test_an_event_that_is_not_of_the_run_is_astray() -> None:
    ledger, events = book()
    witness = started(ledger)
    witness.stray(Stray(None, "x"))
    for event in events:
        witness.event(event)
    assert dict(told(ledger, witness).counts) == {"stray": 1}


def test_thousands_of_missing_events_are_sorted_as_one_by_one() -> None:
    """Beside the law written out: gaps, jumps, what was passed over, what never came."""
    dice = random.Random(7)
    ledger, events = book(events=3000)
    channel = ledger.channels[0]
    witnesses = []
    expected = {"lost": 0, "untold gap": 0, "undelivered": 0}
    covered = 0
    for number in range(20):
        witness = started(ledger, number=number)
        at = 0
        while at < 2900:
            step = dice.randrange(1, 400)
            kind = dice.choice(["reads", "gap", "jump", "loses"])
            part = events[at : at + step]
            if kind == "reads":
                for event in part:
                    witness.event(event)
            elif kind == "gap":
                witness.ready(None, ledger)
                witness.gap(part[-1].key, ledger)
                covered += len(part)
            elif kind == "jump":
                witness.ready(part[-1].key, ledger)
                expected["untold gap"] += len(part)
            else:
                witness.mark(part[-1].key)
                expected["lost"] += len(part)
            at += len(part)
        expected["undelivered"] += len(events) - at
        witnesses.append(witness)
    assert channel.unplaced == 0
    verdict = told(ledger, *witnesses)
    assert dict(verdict.counts) == {kind: count for kind, count in expected.items() if count}
    assert verdict.told == covered
    assert all(len(examples) == 5 for examples in verdict.examples.values())
