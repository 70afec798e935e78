"""The client's parser against the standard's examples and LaunchDarkly's contract tests for SSE.

Every case is fed whole, in halves cut at every byte, and byte by byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from server import client
from server.client import Block, Parser, WireError

BOM = b"\xef\xbb\xbf"

Message = tuple[str, str, str]
"""Type, data, and the last event id as the standard has it at the dispatch."""


def cuts(text: bytes) -> Iterator[list[bytes]]:
    """All at once, cut once at each place, and in single bytes."""
    for at in range(len(text) + 1):
        yield [text[:at], text[at:]]
    yield [text[at : at + 1] for at in range(len(text))]


def dispatched(chunks: Iterable[bytes]) -> tuple[list[Message], str]:
    """What an EventSource would dispatch, and the id that it would come back with."""
    parser, last, found = Parser(), "", []
    for chunk in chunks:
        for block in parser.feed(chunk):
            last = last if block.id is None else block.id
            if block.data is not None:
                found.append((block.event, block.data, last))
    assert parser.last_event_id == last
    return found, last


def messages(*data: str, event: str = "message", id_: str = "") -> tuple[list[Message], str]:
    return [(event, text, id_) for text in data], id_


# WHATWG HTML, section 9.2.6: the examples and what each of them dispatches.
STANDARD = [
    (b"data: YHOO\ndata: +2\ndata: 10\n\n", messages("YHOO\n+2\n10")),
    (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event",
        ([("message", "first event", "1"), ("message", "second event", "")], ""),
    ),
    (b"data\n\ndata\ndata\n\ndata:", messages("", "\n")),
    (b"data:test\n\ndata: test\n\n", messages("test", "test")),
    (
        b"event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\n",
        ([("add", "73857293", ""), ("remove", "2153", "")], ""),
    ),
]

# github.com/launchdarkly/sse-contract-tests: basic parsing, comments, byte order marks.
LAUNCHDARKLY = [
    (b"data: Hello\n\n", messages("Hello")),
    (b"data: testtest\n\ndata:test\n\n", messages("testtest", "test")),
    (b"data: Hello\n\ndata: World\n\n", messages("Hello", "World")),
    (b"data: Hello\ndata:World\n\n", messages("Hello\nWorld")),
    (b"data:\n\n", messages("")),
    (b"event: greeting\ndata: Hello\n\n", messages("Hello", event="greeting")),
    (b"id: abc\ndata: Hello\n\n", messages("Hello", id_="abc")),
    (
        b"event: greeting\nid: abc\ndata: Hello\n\n",
        messages("Hello", event="greeting", id_="abc"),
    ),
    (b"id: a\x00bc\ndata: Hello\n\n", messages("Hello")),
    (b"id: abc\ndata: first\n\ndata: second\n\n", messages("first", "second", id_="abc")),
    (
        b"id: abc\ndata: first\n\nid: \ndata: second\n\n",
        ([("message", "first", "abc"), ("message", "second", "")], ""),
    ),
    (
        b"data: Hello\nid: abc\nevent: greeting\n\n",
        messages("Hello", event="greeting", id_="abc"),
    ),
    (b"event: greeting\ncolor: blue\ndata: Hello\n\n", messages("Hello", event="greeting")),
    (b"event:greeting\ndata:Hello\n\n", messages("Hello", event="greeting")),
    (b"event:  greeting\ndata:  Hello\n\n", messages(" Hello", event=" greeting")),
    ("data: €豆腐\n\n".encode(), messages("€豆腐")),
    (b":Hello\n:World\ndata: Hello\n\n:Hello\n", messages("Hello")),
    (BOM + b"data: Hello\n\n", messages("Hello")),
    (
        BOM + b"event: greeting\nid: abc\ndata: Hello\n\n",
        messages("Hello", event="greeting", id_="abc"),
    ),
    (BOM + b"data: First\n\ndata: Second\n\n", messages("First", "Second")),
    (b"data: First\n\ndata: " + BOM + b"Second\n\n", messages("First", "\ufeffSecond")),
    (BOM + b"data: " + BOM + b"Hello\n\n", messages("\ufeffHello")),
    (BOM + b"data: Line1\ndata: Line2\n\n", messages("Line1\nLine2")),
    (BOM + b":comment\ndata: Hello\n\n", messages("Hello")),
    (BOM + b"data:\n\n", messages("")),
    (b"id: abc\ndata: Hello\n\nid: def\ndata: Goodbye", messages("Hello", id_="abc")),
]

# And its line ends: each of these with LF, CR and CRLF.
LINES = [
    (b"data: event 1\n\n", messages("event 1")),
    (b"data: event 1\n\ndata: a\ndata: b\n\n", messages("event 1", "a\nb")),
    (b"data:\ndata: line2\ndata: line3\n\n", messages("\nline2\nline3")),
    (b"data: line1\ndata:\ndata: line3\n\n", messages("line1\n\nline3")),
    (b"data: event 1\n\n\ndata: event 2\n\n", messages("event 1", "event 2")),
    (b"data: event 1\n\n\n\ndata: event 2\n\n", messages("event 1", "event 2")),
    (b"\n\nid: 7\n\nevent: x\n\ndata: y\n\n", ([("message", "y", "7")], "7")),
]

# Beyond both: a mark of its own kind is data, a second one at the start no mark.
MORE = [
    (BOM + BOM + b"data: a\n\ndata: b\n\n", messages("b")),
    (b"\n" + BOM + b"data: a\n\ndata: b\n\n", messages("b")),
    (b"data: \xff\xe2\x82\n\n", messages("\ufffd\ufffd")),
    (b"id: 1\x00\n\nid: 2\n\nid: 3\x00\ndata: x\n\n", ([("message", "x", "2")], "2")),
    (b"Data: a\n data: b\ndata : c\n\n", messages()),
    (b"data: a\r\ndata: b\n\rdata: c\r\r", messages("a\nb", "c")),
    (b"data: a\n\r\n", messages("a")),
    (b"data: a\r\n\ndata: b\r\n\r", messages("a", "b")),
]


@pytest.mark.parametrize(("text", "expected"), STANDARD + LAUNCHDARKLY + MORE)
def test_it_dispatches_what_the_standard_does(
    text: bytes, expected: tuple[list[Message], str]
) -> None:
    for chunks in cuts(text):
        assert dispatched(chunks) == expected, chunks


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CRLF"])
@pytest.mark.parametrize(("text", "expected"), LINES)
def test_lines_end_in_any_of_three_ways(
    text: bytes, end: bytes, expected: tuple[list[Message], str]
) -> None:
    for chunks in cuts(text.replace(b"\n", end)):
        assert dispatched(chunks) == expected, chunks


def test_a_line_feed_that_belongs_to_a_return_in_another_chunk_ends_no_line() -> None:
    chunks = [b"data: Hello\r", b"\ndata: World\r", b"\n\r\ndata: OK\r", b"\n", b"\r", b"\n"]
    assert dispatched(chunks) == messages("Hello\nWorld", "OK")


def test_a_block_that_ends_with_a_return_is_not_held_back() -> None:
    assert len(Parser().feed(b"data: a\r\n\r")) == 1


@pytest.mark.parametrize(
    ("text", "retry"),
    [
        (b"2300", 2300),
        (b"0", 0),
        (b"", None),
        (b"1.5", None),
        (b"-1", None),
        ("²".encode(), None),
        (b"9" * 5_000, None),
    ],
)
def test_a_reconnection_time_is_ascii_digits(text: bytes, retry: int | None) -> None:
    (block,) = Parser().feed(b"retry: " + text + b"\ndata: x\n\n")
    assert block == Block(None, "message", "x", retry)


def test_an_id_only_block_moves_the_position_and_dispatches_nothing() -> None:
    assert Parser().feed(b"id: 3f2a9c1e.7\n\n") == [Block("3f2a9c1e.7", "message", None, None)]


@pytest.mark.parametrize("piece", [b"x" * 20, b"xxxx\r", b"\nd", b"\r\nd"])
def test_pieces_of_a_block_are_put_together_once(piece: bytes) -> None:
    parser, count = Parser(), 20_000
    parser.feed(b"data: ")
    assert not [block for _ in range(count) for block in parser.feed(piece)]
    assert len(parser._begun) == count + 1
    (block,) = parser.feed(b"\n\n")
    assert block.data is not None


def test_a_block_without_an_end_is_no_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_BLOCK", 10_000)
    parser = Parser()
    for _ in range(100):
        parser.feed(b"x" * 100)
    with pytest.raises(WireError):
        parser.feed(b"x")
