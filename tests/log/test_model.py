from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.log.model import EventId, Fork, Head, Resume, parse_id, resume

A, B, C = "a" * 8, "b" * 8, "c" * 8
# A until 10, then B until 20, then C; the head is at 30, the floor at 5.
HISTORY = [Fork(A, 0), Fork(B, 10), Fork(C, 20)]
HEAD = Head(C, 30, 5)


@given(st.from_regex(r"[0-9a-f]{8}", fullmatch=True), st.integers(0, 2**63 - 1))
def test_an_id_is_read_back_as_it_was_written(epoch: str, pos: int) -> None:
    at = EventId(epoch, pos)
    assert parse_id(str(at)) == at


@given(st.text(max_size=30))
def test_no_other_text_is_an_id(text: str) -> None:
    found = parse_id(text)
    assert found is None or str(found) == text


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (EventId(C, 30), Resume(30)), (EventId(C, 25), Resume(25)), (EventId(C, 5), Resume(5)),
        (EventId(C, 31), Resume(30, "ahead")), (EventId(C, 4), Resume(5, "pruned")),
        (EventId(B, 20), Resume(20)), (EventId(B, 21), Resume(30, "epoch")),
        (EventId(B, 31), Resume(30, "epoch")), (EventId(B, 15), Resume(15)),
        (EventId(A, 10), Resume(10)), (EventId(A, 11), Resume(30, "epoch")),
        (EventId(A, 15), Resume(30, "epoch")), (EventId(A, 0), Resume(5, "pruned")),
        (EventId("d" * 8, 7), Resume(30, "epoch")), (EventId("d" * 8, 1), Resume(30, "epoch")),
        (None, Resume(30, "malformed")),
    ],
)  # fmt: skip
def test_where_a_reader_goes_on(after: EventId | None, expected: Resume) -> None:
    assert resume(after, HEAD, HISTORY) == expected


def test_a_fork_below_an_earlier_one_cuts_that_one_too() -> None:
    """Restored twice, the second time to before the first fork."""
    history = [Fork(A, 0), Fork(B, 20), Fork(C, 10)]
    head = Head(C, 30, 0)
    assert resume(EventId(A, 10), head, history) == Resume(10)
    assert resume(EventId(A, 15), head, history) == Resume(30, "epoch")
    assert resume(EventId(B, 15), head, history) == Resume(30, "epoch")


@given(
    st.sampled_from([A, B, C, "d" * 8]), st.integers(0, 40), st.integers(0, 30),
)  # fmt: skip
def test_whoever_is_not_told_of_a_gap_goes_on_exactly_where_they_were(
    epoch: str, pos: int, floor: int
) -> None:
    found = resume(EventId(epoch, pos), Head(C, 30, floor), HISTORY)
    if found.gap is None:
        assert found.pos == pos
        assert floor <= pos <= {A: 10, B: 20, C: 30}[epoch]
    else:
        assert found.pos in (floor, 30)
