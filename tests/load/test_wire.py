from __future__ import annotations

import pytest

from scripts.load.ledger import Ledger
from scripts.load.wire import (
    Answer,
    Bye,
    Decoder,
    Event,
    Gap,
    Mark,
    Moved,
    Reader,
    Ready,
    Stray,
    WireError,
)

RUN = "0123456789ab"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"


def decoder(events: int = 20) -> Decoder:
    ledger = Ledger(RUN, 2)
    for number in range(events):
        ledger.channels[number % 2].publish(1_000 + number)
    return Decoder(ledger)


def event(pos: int, channel: int, seq: int) -> bytes:
    name = f"public.load.{RUN}.{channel}"
    data = f'{{"pad": "é", "load": "{channel}.{seq}"}}'
    return f'id: ab.{pos}\ndata: {{"channel":"{name}","type":"load","data":{data}}}\n\n'.encode()


BLOCKS = [
    b'retry: 2300\nid: ab.7\nevent: ready\ndata: {"stream":"s"}\n\n',
    event(8, 0, 0), event(9, 1, 0),
    b"id: ab.12\n\n",
    b'data: {"channel":"public.x","data":1}\n\n',
    b'id: ab.13\ndata: {"channel":"public.x","data":1}\n\n',
    event(14, 0, 9),
    b'id: ab.20\nevent: gap\ndata: {"after":"ab.14","resumed":"ab.20","reason":"pruned"}\n\n',
    b": a comment\n\n",
    b'retry: 900\nevent: bye\ndata: {"reason":"max-age","retry":900}\n\n',
]  # fmt: skip


def expected(made: Decoder) -> list[object]:
    at = made.ledger.epochs.key

    def key(pos: int) -> int:
        found = at(b"ab.%d" % pos)
        assert found is not None
        return found

    return [
        Ready(key(7), 2300),
        Event(key(8), 0, 0, 1, 1_000), Event(key(9), 1, 0, 1, 1_001),
        Mark(key(12)),
        Stray(None, 'b\'{"channel":"public.x","data":1}\''),
        Stray(key(13), 'b\'{"channel":"public.x","data":1}\''),
        Event(key(14), 0, 1, 2, 1_018),
        Gap(key(20), "pruned"), Bye("max-age", 900),
    ]  # fmt: skip


def chunked(sizes: list[int]) -> bytes:
    """The blocks in chunks of these sizes in turn."""
    body, out, turn = b"".join(BLOCKS), b"", 0
    while body:
        size = sizes[turn % len(sizes)]
        out += b"%x\r\n%b\r\n" % (len(body[:size]), body[:size])
        body, turn = body[size:], turn + 1
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + out + b"0\r\n\r\n"


PLAIN = HEAD + b"\r\n" + b"".join(BLOCKS)
FORMS = {"plain": PLAIN, "chunked": chunked([200]), "odd chunks": chunked([1, 7, 64, 3])}


@pytest.mark.parametrize("form", FORMS)
def test_split_at_any_byte_it_is_the_same(form: str) -> None:
    answer = FORMS[form]
    for at in range(len(answer) + 1):
        made = decoder()
        reader = Reader(made)
        found = [*reader.feed(answer[:at]), *reader.feed(answer[at:])]
        assert found == expected(made), at


@pytest.mark.parametrize("form", FORMS)
def test_byte_for_byte_it_is_the_same(form: str) -> None:
    made = decoder()
    reader = Reader(made)
    found = [block for byte in FORMS[form] for block in reader.feed(bytes([byte]))]
    assert found == expected(made)


def test_what_many_receive_is_parsed_once() -> None:
    made = decoder()
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    block = event(8, 0, 3)
    chunk = b"%x\r\n%b\r\n" % (len(block), block)
    found = []
    for _ in range(3):
        reader = Reader(made)
        reader.feed(head + chunk)
        found.append(reader.feed(chunk))
    assert found[0] is found[1] is found[2]


def test_half_a_block_is_not_mistaken_for_the_same_bytes_after_a_whole_one() -> None:
    made = decoder()
    whole, half = Reader(made), Reader(made)
    block = event(8, 0, 3)
    whole.feed(HEAD + b"\r\n")
    assert len(whole.feed(block)) == len(whole.feed(block)) == 1
    half.feed(HEAD + b"\r\n" + block[:10])
    assert len(half.feed(block[10:] + block)) == 2
    half.feed(block[:10])
    # Between blocks these very bytes would be one event.
    with pytest.raises(WireError):
        half.feed(block)


def test_a_position_is_noted_for_the_judge() -> None:
    made = decoder()
    made.ledger.channels[0].acknowledge(3)
    assert made.ledger.channels[0].unplaced == 1
    made.block(event(88, 0, 3).strip())
    assert made.ledger.channels[0].keys[3] == made.ledger.epochs.key(b"ab.88")
    assert made.ledger.channels[0].unplaced == 0


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/2 200\r\n\r\n",
        b"SSH-2.0-x\r\n\r\n",
        HEAD + b"Content-Length: x\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 2000,
        HEAD + b"\r\nid: nothing\n\n",
        HEAD + b"\r\nrubbish\n\n",
        HEAD + b"\r\n" + event(9, 0, 500),
        HEAD + b"\r\n" + event(9, 0, 1).replace(b'"load": "0.', b'"load": "1.'),
        HEAD + b"\r\nevent: bye\ndata: no json\n\n",
        b"x" * 70_000,
    ],
)
def test_what_is_no_stream_is_refused(raw: bytes) -> None:
    with pytest.raises(WireError):
        Reader(decoder()).feed(raw)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_answer_knows_its_end(framing: str) -> None:
    body = b'{"ids":["x"]}'
    if framing == "length":
        raw = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    else:
        raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nd\r\n%b\r\n0\r\n\r\n" % body
    for at in range(len(raw)):
        answer = Answer()
        got, before = answer.feed(raw[:at]), answer.ended
        got, after = got + answer.feed(raw[at:]), answer.ended
        assert (got, before, after, answer.status) == (body, False, True, 200)


def test_an_empty_answer_has_ended() -> None:
    answer = Answer()
    answer.feed(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n")
    assert (answer.ended, answer.status, answer.headers[b"retry-after"]) == (True, 503, b"3")


def test_the_probe_before_the_run_is_not_astray() -> None:
    made = decoder()
    block = made.block(b'id: ab.5\ndata: {"channel":"public.load.%b.probe"}' % RUN.encode())
    assert isinstance(block, Mark)


def test_an_event_at_another_position_is_told() -> None:
    made = decoder()
    first = made.block(event(8, 0, 0).strip())
    again = made.block(event(9, 0, 0).strip())
    assert isinstance(first, Event)
    assert again == Moved(first._replace(key=first.key + 1), first.key)


def test_an_event_of_ours_without_an_id_is_malformed() -> None:
    with pytest.raises(WireError, match="without an id"):
        decoder().block(event(8, 0, 0).strip().partition(b"\n")[2])
