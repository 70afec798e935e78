from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from server.log.model import Event, EventId
from server.stream import wire

AT = EventId("3f2a9c1e", 42)


def test_every_block_is_exactly_this() -> None:
    item = Event(43, "a", None, '{"data":"ä"}')
    assert wire.event("3f2a9c1e", item) == 'id: 3f2a9c1e.43\ndata: {"data":"ä"}\n\n'.encode()
    assert wire.ephemeral('{"n":1}') == b'data: {"n":1}\n\n'
    assert wire.mark(AT) == b"id: 3f2a9c1e.42\n\n"
    assert wire.retry(2300) == b"retry: 2300\n"
    assert wire.ready(AT, "s1", ["a", "b.>"], 15) == (
        b"id: 3f2a9c1e.42\nevent: ready\n"
        b'data: {"stream":"s1","channels":["a","b.>"],"heartbeat":15}\n\n'
    )
    assert wire.ready(None, "s1", [], 15).startswith(b"event: ready\n")
    assert wire.gap("x.1", AT, "pruned") == (
        b"id: 3f2a9c1e.42\nevent: gap\n"
        b'data: {"after":"x.1","resumed":"3f2a9c1e.42","reason":"pruned"}\n\n'
    )
    assert wire.bye("max-age", 1500) == (
        b'retry: 1500\nevent: bye\ndata: {"reason":"max-age","retry":1500}\n\n'
    )
    assert wire.message({"type": "connected"}) == b'data: {"type":"connected"}\n\n'


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner)
    | st.dictionaries(st.text(), inner), max_leaves=4,
)  # fmt: skip


@settings(max_examples=50)
@given(json_values, st.sampled_from([None, 1, "\r\n"]))
def test_whatever_the_data_a_block_is_two_lines_and_loses_nothing(
    data: object, indent: int | str | None
) -> None:
    body = json.dumps({"data": data}, ensure_ascii=False, indent=indent)
    block = wire.event("3f2a9c1e", Event(1, "a", None, body)).decode()
    head, line, *rest = block.split("\n")
    assert (head, rest) == ("id: 3f2a9c1e.1", ["", ""])
    assert "\r" not in block
    assert json.loads(line.removeprefix("data: ")) == {"data": data}


@given(st.text(max_size=50))
def test_a_gap_repeats_any_text_on_one_line(after: str) -> None:
    lines = wire.gap(after, AT, "malformed").decode().split("\n")
    assert len(lines) == 5
    assert json.loads(lines[2].removeprefix("data: "))["after"] == after
