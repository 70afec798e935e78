from __future__ import annotations

import pytest

from server.log.model import EventId
from server.stream.names import Matcher
from server.stream.subscriber import Waiter


def make(
    capacity: int = 100, limit: int | None = None, cursor: int = 0, *, latest: bool = False
) -> Waiter:
    start = EventId("e" * 8, cursor)
    subscriber = Waiter(Matcher(["a"]), start, capacity=capacity, limit=limit, latest=latest)
    subscriber.live = True
    return subscriber


def test_what_waits_leaves_in_one_piece_and_in_order() -> None:
    subscriber = make()
    for pos in range(1, 4):
        assert subscriber.offer(pos, b"%d" % pos)
    assert subscriber.wakeup.is_set()
    assert subscriber.take() == b"123"
    assert subscriber.take() == b""
    assert subscriber.idle
    assert subscriber.position == ("e" * 8, 3)


def test_an_event_at_or_below_the_cursor_is_not_taken_again() -> None:
    subscriber = make(cursor=5)
    assert subscriber.offer(4, b"x")
    assert subscriber.offer(5, b"x")
    assert subscriber.idle
    assert subscriber.offer(6, b"y")
    assert subscriber.take() == b"y"


def test_a_full_buffer_makes_it_lag_and_keeps_its_place() -> None:
    subscriber = make(capacity=10)
    assert subscriber.offer(1, b"x" * 8)
    assert not subscriber.offer(2, b"x" * 8)
    assert (subscriber.live, subscriber.lagged, subscriber.cursor) == (False, 1, 1)


def test_a_frame_larger_than_the_buffer_passes_when_nothing_waits() -> None:
    subscriber = make(capacity=10)
    assert subscriber.offer(1, b"x" * 100)
    assert not subscriber.offer(2, b"y")


def test_the_limit_ends_it_at_the_event() -> None:
    subscriber = make(limit=2)
    for pos in range(1, 5):
        assert subscriber.offer(pos, b"%d" % pos)
    assert subscriber.ended
    assert subscriber.take() == b"12"
    assert subscriber.cursor == 2


def test_the_first_end_is_the_last_word() -> None:
    subscriber = make()
    subscriber.end(b"bye")
    subscriber.end(b"again")
    assert subscriber.offer(1, b"x")
    assert subscriber.take() == b"bye"


def test_ephemeral_events_are_dropped_before_they_crowd_out_others() -> None:
    subscriber = make(capacity=10)
    for _ in range(5):
        subscriber.offer_ephemeral(b"123")
    assert subscriber.take() == b"123"
    assert subscriber.cursor == 0


def test_a_rebase_with_a_gap_tells_it_and_moves() -> None:
    subscriber = make(cursor=5)
    subscriber.rebase("f" * 8, 9, "epoch")
    assert subscriber.position == ("f" * 8, 9)
    assert b'"after":"eeeeeeee.5","resumed":"ffffffff.9","reason":"epoch"' in subscriber.take()


def test_a_rebase_without_one_says_nothing() -> None:
    subscriber = make(cursor=5)
    subscriber.rebase("f" * 8, 9, None)
    assert subscriber.position == ("f" * 8, 5)
    assert subscriber.idle


def test_who_is_ahead_of_the_fork_is_told_although_its_process_is_not() -> None:
    subscriber = make(cursor=12)
    subscriber.rebase("f" * 8, 9, None)
    assert b'"reason":"epoch"' in subscriber.take()
    assert subscriber.cursor == 9


def test_pruning_below_its_place_is_no_matter() -> None:
    subscriber = make(cursor=12)
    subscriber.rebase("e" * 8, 9, "pruned")
    assert (subscriber.cursor, subscriber.idle) == (12, True)


@pytest.mark.parametrize("latest", [False, True])
@pytest.mark.parametrize("cursor", [9, 12])
def test_pruning_in_a_new_epoch_is_told_to_who_is_above_the_floor(
    latest: bool, cursor: int
) -> None:
    """Where the new epoch began is not known here: it may be below the cursor."""
    subscriber = make(cursor=cursor, latest=latest)
    subscriber.rebase("f" * 8, 9, "pruned")
    told = f'"after":"eeeeeeee.{cursor}","resumed":"ffffffff.9","reason":"epoch"'
    assert told.encode() in subscriber.take()
    assert subscriber.position == ("f" * 8, 9)


def test_who_is_ahead_of_its_process_stays_there_within_an_epoch() -> None:
    subscriber = make(cursor=12)
    subscriber.rebase("e" * 8, 9, None)
    assert (subscriber.cursor, subscriber.idle) == (12, True)
    subscriber.rebase("e" * 8, 9, "ahead")  # the log itself went back
    assert subscriber.cursor == 9
    assert b'"reason":"ahead"' in subscriber.take()
