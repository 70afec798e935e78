from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from server.log.model import Event, EventId
from server.stream import wire
from server.stream.names import Matcher
from server.stream.pubsub import PubSub
from server.stream.subscriber import Waiter

EPOCH = "e" * 8
WANTED = (["a"], ["b.*"], [">"], ["a", "a", "b.>"])
NAMES = ("a", "b.x", "c")


def body(pos: int) -> str:
    return f'{{"n":{pos},"fill":"{"x" * (pos % 7) * 10}"}}'


class Client:
    """What a subscriber's client has received, and what it should have."""

    def __init__(self, subscriber: Waiter) -> None:
        self.subscriber = subscriber
        self.start = subscriber.cursor
        self.got = b""


class Streams(RuleBasedStateMachine):
    """Subscribers come, lag, catch up and go while events are published: none loses any."""

    def __init__(self) -> None:
        super().__init__()
        self.pubsub = PubSub(ring_bytes=2_000)
        self.pubsub.rebase(EPOCH, 0, None)
        self.log: list[Event] = []
        self.clients: list[Client] = []

    def frames(self, client: Client, upto: int) -> bytes:
        return b"".join(
            wire.event(EPOCH, event)
            for event in self.log
            if client.start < event.pos <= upto and event.channel in client.subscriber.channels
        )

    @rule(names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=5))
    def publish(self, names: list[str]) -> None:
        fresh = [
            Event(len(self.log) + n, name, None, body(len(self.log) + n))
            for n, name in enumerate(names, 1)
        ]
        self.log += fresh
        self.pubsub.publish(fresh)

    @rule(wanted=st.sampled_from(WANTED), back=st.integers(0, 30), capacity=st.integers(1, 300))
    def come(self, wanted: list[str], back: int, capacity: int) -> None:
        start = EventId(EPOCH, max(0, len(self.log) - back))
        subscriber = Waiter(Matcher(wanted), start, capacity=capacity)
        self.pubsub.register(subscriber)
        self.clients.append(Client(subscriber))

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def drive(self, data: st.DataObject) -> None:
        """What the connection's loop does: take, or else catch up or join."""
        client = data.draw(st.sampled_from(self.clients))
        subscriber = client.subscriber
        client.got += subscriber.take()
        if subscriber.live or self.pubsub.join(subscriber):
            return
        found = self.pubsub.ring.after(subscriber.cursor, subscriber.channels, 100)
        if found is None:  # from the log, a page
            upto = min(len(self.log), subscriber.cursor + 5)
            page = [
                e for e in self.log[subscriber.cursor : upto] if e.channel in subscriber.channels
            ]
            found = [wire.event(EPOCH, event) for event in page], upto
        client.got += b"".join(found[0])
        subscriber.cursor = found[1]

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        client = data.draw(st.sampled_from(self.clients))
        self.clients.remove(client)
        self.pubsub.unregister(client.subscriber)

    @invariant()
    def every_client_has_exactly_its_events_up_to_its_cursor(self) -> None:
        for client in self.clients:
            subscriber = client.subscriber
            waiting = b"".join(subscriber.pending)
            assert client.got + waiting == self.frames(client, subscriber.cursor)
            if subscriber.live:
                assert client.got + waiting == self.frames(client, len(self.log))

    @invariant()
    def buffers_are_bounded(self) -> None:
        assert self.pubsub.ring.size <= 2_000
        for client in self.clients:
            waiting = client.subscriber.pending
            size = sum(map(len, waiting))
            assert size <= client.subscriber.capacity or len(waiting) == 1

    @invariant()
    def only_the_registered_are_known(self) -> None:
        assert set(self.pubsub.subscribers) == {client.subscriber for client in self.clients}
        live = {client.subscriber for client in self.clients if client.subscriber.live}
        assert {s for name in NAMES for s in self.pubsub._live.matching(name)} <= live


Streams.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestStreams = Streams.TestCase


def make(pubsub: PubSub, name: str, cursor: int = 0, capacity: int = 1_000) -> Waiter:
    subscriber = Waiter(Matcher([name]), EventId(EPOCH, cursor), capacity=capacity)
    pubsub.register(subscriber)
    return subscriber


def test_every_subscriber_gets_the_same_bytes_object() -> None:
    pubsub = PubSub(10_000)
    pubsub.rebase(EPOCH, 0, None)
    subscribers = [make(pubsub, "a") for _ in range(3)]
    assert all(pubsub.join(subscriber) for subscriber in subscribers)
    pubsub.publish([Event(1, "a", None, "{}")])
    assert len({id(subscriber.take()) for subscriber in subscribers}) == 1
    assert (pubsub.published, pubsub.delivered) == (1, 3)


def test_nobody_joins_from_behind_or_from_another_epoch() -> None:
    pubsub = PubSub(0)
    pubsub.rebase(EPOCH, 5, None)
    assert not pubsub.join(make(pubsub, "a", 4))
    assert pubsub.join(make(pubsub, "a", 5))
    assert pubsub.join(make(pubsub, "a", 6))
    stranger = make(pubsub, "a", 5)
    stranger.epoch = "f" * 8
    assert not pubsub.join(stranger)


def test_a_gap_reaches_live_and_lagging_alike_and_empties_the_ring() -> None:
    pubsub = PubSub(10_000)
    pubsub.rebase(EPOCH, 0, None)
    live, lagging = make(pubsub, "a"), make(pubsub, "a")
    assert pubsub.join(live)
    pubsub.publish([Event(1, "b", None, "{}")])
    pubsub.rebase("f" * 8, 9, "epoch")
    for subscriber in (live, lagging):
        assert b"event: gap" in subscriber.take()
        assert subscriber.position == ("f" * 8, 9)
    assert pubsub.ring.first is None
    pubsub.publish([Event(10, "a", None, "{}")])
    assert live.take() == b"id: ffffffff.10\ndata: {}\n\n"


def test_a_heartbeat_moves_only_who_is_live_and_idle() -> None:
    pubsub = PubSub(0)
    pubsub.rebase(EPOCH, 0, None)
    live, lagging = make(pubsub, "a"), make(pubsub, "a")
    pubsub.join(live)
    pubsub.publish([Event(1, "b", None, "{}")])
    for subscriber in (live, lagging):
        pubsub.heartbeat(subscriber)
    assert live.take() == b"id: eeeeeeee.1\n\n"
    assert lagging.take() == b""


def test_an_ephemeral_event_reaches_the_live_and_moves_nobody() -> None:
    pubsub = PubSub(0)
    pubsub.rebase(EPOCH, 3, None)
    live = make(pubsub, "ops.*", 3)
    pubsub.join(live)
    pubsub.announce("ops.metrics", '{"n":1}')
    pubsub.announce("other", '{"n":2}')
    assert live.take() == b'data: {"n":1}\n\n'
    assert live.cursor == 3
