"""The clients that keep what they got."""

import pytest

from scripts.benchmark.clients import Chunks, Received
from server.log.model import Event, EventId
from server.stream import wire

EPOCH = "0badcafe"
READY = wire.retry(1000) + wire.ready(EventId(EPOCH, 4), "s", ["c"], 15.0)


def event(pos: int) -> bytes:
    return wire.event(EPOCH, Event(pos, "c", None, '{"data":"id: 0badcafe.9\\\\n"}'))


def fed(*blocks: bytes, size: int = 7) -> Received:
    """The blocks as they come, cut anywhere."""
    received, data = Received(), b"".join(blocks)
    for at in range(0, len(data), size):
        received.take(data[at : at + size])
    return received


def test_positions_are_kept_in_order_however_the_stream_is_cut() -> None:
    for size in range(1, 60):
        received = fed(READY, event(5), event(6), wire.mark(EventId(EPOCH, 8)), size=size)
        assert received.positions.tolist() == [5, 6]
        assert received.last_id == f"{EPOCH}.8"
        assert received.readies == 1


def test_half_a_block_at_the_end_of_a_connection_never_was() -> None:
    received = Received()
    received.take(event(5) + event(6)[:-3])
    received.cut()
    received.take(READY + event(6))
    assert received.wrong([5, 6]) is None


def test_a_bye_says_when_to_come_back() -> None:
    assert fed(READY, wire.bye("shutdown", 2345)).retry == 2345


@pytest.mark.parametrize(
    ("positions", "what"),
    [
        ([5, 7], "1 missing, 0 twice, 0 of nobody"),
        ([5, 6, 6, 7], "0 missing, 1 twice, 0 of nobody"),
        ([5, 7, 6], "0 missing, 0 twice, 0 of nobody, out of order"),
        ([5, 6, 7, 8], "0 missing, 0 twice, 1 of nobody"),
    ],
)
def test_whatever_is_wrong_is_told(positions: list[int], what: str) -> None:
    assert fed(*map(event, positions)).wrong([5, 6, 7]) == what


def test_a_gap_is_wrong_even_if_nothing_is_missing() -> None:
    gap = wire.gap(f"{EPOCH}.4", EventId(EPOCH, 4), "pruned")
    assert fed(READY, gap, event(5)).wrong([5]) == "1 gaps"


def test_chunks_are_taken_apart_however_they_are_cut() -> None:
    framed = wire.chunk(b"one\r\n") + wire.chunk(b"two" * 100) + b"0\r\n\r\n"
    for size in range(1, 40):
        chunks = Chunks()
        parts = [chunks.feed(framed[at : at + size]) for at in range(0, len(framed), size)]
        assert b"".join(parts) == b"one\r\n" + b"two" * 100
        assert chunks.ended


def test_what_is_no_chunk_is_an_error() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        Chunks().feed(b"data: x\r\n")
