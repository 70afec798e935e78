"""The oracle's own reader of streams: whole blocks however the bytes are cut, and no mercy."""

from __future__ import annotations

import pytest

from tests.oracle.model import Block
from tests.oracle.sse import Parser, WireError, parse

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Cache-Control: no-store, no-transform\r\nX-Accel-Buffering: no\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
STREAM = (
    "retry: 1000\nid: 0a1b2c3d.1\nevent: ready\ndata: {}\n\n"
    'id: 0a1b2c3d.2\ndata: {"ü":1}\n\n'
    "id: 0a1b2c3d.3\n\n"
    "retry: 1000\nevent: bye\ndata: {}\n\n"
).encode()
BLOCKS = [
    Block("0a1b2c3d.1", "ready", "{}"),
    Block("0a1b2c3d.2", "", '{"ü":1}'),
    Block("0a1b2c3d.3", "", None),
    Block(None, "bye", "{}"),
]


def chunked(data: bytes, size: int) -> bytes:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


@pytest.mark.parametrize("chunk", [1, 7, 50, 10_000])
@pytest.mark.parametrize("read", [1, 3, 10_000])
def test_blocks_are_whole_however_the_bytes_come(chunk: int, read: int) -> None:
    parser, raw = Parser(), HEAD + chunked(STREAM, chunk) + b"0\r\n\r\n"
    found = [block for at in range(0, len(raw), read) for block in parser.feed(raw[at : at + read])]
    assert found == BLOCKS
    assert parser.ended
    assert not parser.partial


def test_a_block_that_is_cut_off_is_forgotten() -> None:
    parser = Parser()
    assert parser.feed(HEAD + chunked(STREAM[:60], 60)) == BLOCKS[:1]
    assert parser.partial


def test_another_status_has_no_blocks() -> None:
    parser = Parser()
    assert parser.feed(b"HTTP/1.1 503 Service Unavailable\r\n\r\nid: 0a1b2c3d.1\n\n") == []
    assert parser.status == 503


@pytest.mark.parametrize(
    "raw",
    [
        HEAD.replace(b"no-store", b"no-cache") + chunked(STREAM, 9),
        HEAD + b"zz\r\nid: 0a1b2c3d.1\n\n\r\n",
        b"\x16\x03\x01 not HTTP\r\n\r\n",
    ],
)
def test_bad_http_is_refused(raw: bytes) -> None:
    with pytest.raises(WireError):
        Parser().feed(raw)


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"id: 0a1b2c3d.1\r",
        b"\xef\xbb\xbfid: 0a1b2c3d.1",
        b"id: 0a1b2c3d.01",
        b"id: 0A1B2C3D.1",
        b"id: 7",
        b"id: 0a1b2c3d.1\nid: 0a1b2c3d.2",
        b"id:0a1b2c3d.1",
        b": a comment",
        b"event: error\ndata: {}",
        b"event: gap",
        b"retry: 1000\nid: 0a1b2c3d.1\ndata: {}",
        b"id: 0a1b2c3d.1\ndata: \xff",
        b"id: 0a1b2c3d.1\ndata: a\0b",
        b"retry: 1000",
        b"\nid: 0a1b2c3d.1",
    ],
)
def test_what_the_contract_does_not_allow_is_refused(block: bytes) -> None:
    with pytest.raises(WireError):
        parse(block)
