"""The law by hand-made histories: what is lawful passes, and each violation has its name."""

from __future__ import annotations

import json

import pytest

from tests.oracle.law import judge
from tests.oracle.model import Ask, Block, History, Row, Session, Truth, matches

EPOCH = "0a1b2c3d"
CHANNELS = {1: "a.x", 2: "a.y", 3: "a.x", 4: "b", 5: "a.x", 6: "a.x", 7: "b"}
ROWS = {
    pos: Row(pos, name, "t", None, "2026-11-22T16:04:05.123Z", f"id-{pos}", f'{{"n": {pos}}}')
    for pos, name in CHANNELS.items()
}
TRUTH = Truth(EPOCH, ROWS, floors=[4])


def at(pos: int) -> str:
    return f"{EPOCH}.{pos}"


def ready(pos: int | None) -> Block:
    return Block(None if pos is None else at(pos), "ready", "{}")


def event(pos: int, **changes: object) -> Block:
    return Block(at(pos), "", json.dumps(ROWS[pos].told() | changes))


def mark(pos: int) -> Block:
    return Block(at(pos))


def gap(after: str, resumed: int, reason: str = "pruned") -> Block:
    told = {"after": after, "resumed": at(resumed), "reason": reason}
    return Block(at(resumed), "gap", json.dumps(told))


BYE = Block(None, "bye", "{}")


def session(*blocks: Block, ask: Ask | None = None) -> Session:
    continues = ask is not None and ask.last is not None and ask.last[:8] == EPOCH
    return Session(ask or Ask(), continues, list(blocks))


def kinds(*sessions: Session, channels: tuple[str, ...] = ("a.x",)) -> list[str]:
    sessions[0].continues = False
    return [found.kind for found in judge(TRUTH, History("h", channels, list(sessions)))]


LAWFUL = {
    "from the start to the head": [
        session(ready(0), event(1), event(3), event(5), event(6), mark(7))
    ],
    "id-only blocks between": [
        session(ready(1), mark(2), event(3), mark(4), event(5), event(6), mark(6), mark(7))
    ],
    "from the present": [session(ready(7))],
    "a reconnect": [
        session(ready(0), event(1), event(3)),
        session(ready(3), event(5), event(6), mark(7), ask=Ask(at(3))),
    ],
    "a cut before ready is whole": [
        session(ready(2), event(3)),
        session(ask=Ask(at(3))),
        session(BYE, ask=Ask(at(3))),
        session(ready(3), event(5), event(6), mark(7), BYE, ask=Ask(at(3))),
    ],
    "pruned while away": [
        session(ready(0), event(1)),
        session(ready(None), gap(at(1), 4), event(5), event(6), mark(7), ask=Ask(at(1))),
    ],
    "a cut between ready and gap": [
        session(ready(0), event(1)),
        session(ready(None), ask=Ask(at(1))),
        session(ready(None), gap(at(1), 4), event(5), event(6), mark(7), ask=Ask(at(1))),
    ],
    "pruned under way": [session(ready(0), event(1), gap(at(2), 4), event(5), event(6), mark(7))],
    "from the ring below the floor": [
        session(ready(3), event(5), event(6), mark(7), ask=Ask(at(3), floor=4))
    ],
    "earliest": [session(ready(4), event(5), event(6), mark(7), ask=Ask("earliest", floor=4))],
    "rewind": [session(ready(4), event(5), event(6), mark(7), ask=Ask(rewind=2, head=7, floor=4))],
    "a rewind that asked a while ago": [
        session(ready(5), event(6), mark(7), ask=Ask(rewind=1, head=5))
    ],
    "an odd id": [session(ready(None), gap("odd", 7, "malformed"), ask=Ask("odd", head=6))],
    "an id from the future": [
        session(ready(None), gap(at(99), 7, "ahead"), ask=Ask(at(99), head=7))
    ],
    "an id of another epoch": [
        session(ready(None), gap("00000000.3", 7, "epoch"), ask=Ask("00000000.3", head=7))
    ],
    "an ephemeral event": [
        session(ready(7), Block(None, "", '{"channel":"ops.metrics","data":1}'))
    ],
}


@pytest.mark.parametrize("name", LAWFUL)
def test_lawful(name: str) -> None:
    assert kinds(*LAWFUL[name]) == []


BROKEN = {
    "an event is left out": (["lost"], [session(ready(0), event(1), event(5), event(6), mark(7))]),
    "an id-only block passes over an event": (["lost"], [session(ready(0), event(1), mark(7))]),
    "an event is lost at the cut": (
        ["lost"],
        [
            session(ready(0), event(1), mark(4)),
            session(ready(4), event(5), event(6), mark(7), ask=Ask(at(4))),
        ],
    ),
    "the same twice": (
        ["twice"],
        [session(ready(4), event(5), event(5), event(6), mark(7))],
    ),
    "again after a reconnect": (
        ["twice"],
        [
            session(ready(2), event(3), event(5)),
            session(ready(5), event(5), event(6), mark(7), ask=Ask(at(5))),
        ],
    ),
    "two in the wrong order": (["order"], [session(ready(4), event(6), event(5), mark(7))]),
    "an id goes back": (["order"], [session(ready(4), event(5), event(6), mark(5), mark(7))]),
    "an event that is not in the log": (
        ["phantom"],
        [session(ready(7), Block(at(8), "", "{}"))],
    ),
    "a channel that was not asked for": (["foreign"], [session(ready(6), event(7), mark(7))]),
    "another body": (["body"], [session(ready(5), event(6, key="other"), mark(7))]),
    "a body that is no JSON": (["body"], [session(ready(5), Block(at(6), "", "{"), mark(7))]),
    "an id beyond the head": (["beyond"], [session(ready(7), mark(8))]),
    "an id of no epoch of ours": (["beyond"], [session(ready(7), Block("00000000.7"))]),
    "no ready": (["ready", "lost"], [session(event(6), mark(7))]),
    "ready twice": (["ready"], [session(ready(6), ready(6), mark(7))]),
    "ready at the head, and the replay forgotten": (
        ["ready", "lost"],
        [session(ready(0), event(1)), session(ready(7), ask=Ask(at(1)))],
    ),
    "ready before the point it was asked for": (
        ["ready"],
        [session(ready(4), event(5), event(6), mark(7), ask=Ask(at(5)))],
    ),
    "ready without id for a client that has none": (
        ["ready", "gap", "lost"],
        [session(ready(None), mark(7))],
    ),
    "earliest below the floor": (
        ["ready"],
        [session(ready(3), event(5), event(6), mark(7), ask=Ask("earliest", floor=4))],
    ),
    "a rewind too far": (
        ["ready"],
        [session(ready(3), event(5), event(6), mark(7), ask=Ask(rewind=1, head=7))],
    ),
    "a rewind too short": (["ready"], [session(ready(7), ask=Ask(rewind=1, head=7))]),
    "a gap is not told": (
        ["gap", "lost"],
        [session(ready(0), event(1)), session(ready(None), mark(7), ask=Ask(at(1)))],
    ),
    "a gap of which nothing was pruned": (
        ["gap"],
        [session(ready(0), event(1), gap(at(1), 5), event(6), mark(7))],
    ),
    "a gap that hides a lost event": (
        ["lost"],
        [session(ready(0), gap(at(2), 4), event(5), event(6), mark(7))],
    ),
    "a gap that starts behind the client": (
        ["gap"],
        [session(ready(0), event(1), event(3), gap(at(1), 4), event(5), event(6), mark(7))],
    ),
    "a gap after another id than the client's": (
        ["gap"],
        [session(ready(None), gap(at(2), 4), event(5), event(6), mark(7), ask=Ask(at(1)))],
    ),
    "a gap whose id is not where it resumes": (
        ["gap"],
        [session(ready(3), gap(at(3), 4)._replace(id=at(5)), event(5), event(6), mark(7))],
    ),
    "a gap with a false reason": (
        ["gap"],
        [session(ready(None), gap(at(1), 7, "ahead"), ask=Ask(at(1), head=7))],
    ),
    "ahead, and resumed in the past": (
        ["gap"],
        [session(ready(None), gap(at(99), 4, "ahead"), event(5), event(6), mark(7),
                 ask=Ask(at(99), head=7))],
    ),
    "something after bye": (["wire"], [session(ready(7), BYE, mark(7))]),
    "an event without an id": (
        ["wire"],
        [session(ready(7), Block(None, "", '{"channel":"a.x"}'))],
    ),
    "a client that never arrives": (["short"], [session(ready(0), event(1))]),
    "a session that asks for another id than the last": (
        ["ready"],
        [session(ready(4), event(5)), session(ready(6), mark(7), ask=Ask(at(6)))],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken(name: str) -> None:
    expected, sessions = BROKEN[name]
    assert kinds(*sessions) == expected


def test_malformed_bytes_break_the_law() -> None:
    history = History("h", ("a.x",), [session(ready(7))], malformed=["a carriage return"])
    assert [found.kind for found in judge(TRUTH, history)] == ["wire"]


def test_several_channels_and_patterns_make_one_sequence() -> None:
    everything = (event(pos) for pos in ROWS)
    assert kinds(session(ready(0), *everything), channels=("a.*", "b")) == []


@pytest.mark.parametrize(
    ("pattern", "channel", "right"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.bc", False),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("*.b", "a.b", True),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        (">", "a.b", True),
        ("a.b", "axb", False),
    ],
)
def test_patterns(pattern: str, channel: str, right: bool) -> None:
    assert matches(pattern, channel) is right
