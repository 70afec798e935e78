"""Bugs that a careless change could bring to the fan-out, each planted where it would be made.

The schedules have to find every one of them (test_schedule.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from server.log.history import History, Page
from server.log.model import EventId, GapReason, Selection
from server.stream import latest, replay, wire
from server.stream.carrier import Carrier
from server.stream.latest import Newest
from server.stream.opening import Opening
from server.stream.outbound import Line, Outbound
from server.stream.pubsub import PubSub, Ring
from server.stream.replay import Replay
from server.stream.rounds import Round, Rounds
from server.stream.subscriber import Subscriber

Plant = Callable[[object, str, Any], None]
"""Sets an attribute, which has to be there."""


def cursor_stays(plant: Plant) -> None:
    """An event is offered, and the cursor does not move."""
    offer = PubSub._offer

    def offering(
        self: PubSub, pos: int, frame: bytes, matching: Iterable[Subscriber]
    ) -> list[Subscriber]:
        before = {subscriber: subscriber.cursor for subscriber in matching}
        full = offer(self, pos, frame, before)
        for subscriber, cursor in before.items():
            subscriber.cursor = cursor
        return full

    plant(PubSub, "_offer", offering)


def ring_skips(plant: Plant) -> None:
    """A look into the ring begins one too far."""
    after = Ring.after
    plant(Ring, "after", lambda self, pos, *more: after(self, pos + 1, *more))


def joins_from_behind(plant: Plant) -> None:
    """Who has not reached the present becomes live."""
    join = PubSub.join

    def joining(self: PubSub, subscriber: Subscriber) -> bool:
        if subscriber.epoch == self.epoch:
            subscriber.cursor = max(subscriber.cursor, self.position)
        return join(self, subscriber)

    plant(PubSub, "join", joining)


def paused_stays(plant: Plant) -> None:
    """A line whose socket is full stays in the pubsub."""
    plant(Outbound, "paused", lambda self, line: None)


def stays_in_index(plant: Plant) -> None:
    """Who lags is no longer live, but still in the index."""

    def leaving(self: PubSub, subscriber: Subscriber) -> None:
        subscriber.live = False

    plant(PubSub, "leave", leaving)


def sent_again(plant: Plant) -> None:
    """Of what was sent together, the last stays in the buffer."""
    join = Outbound._join

    def joining(self: Outbound, line: Line) -> None:
        join(self, line)
        if len(self._same) > 1:
            self._same = self._same[:-1]

    plant(Outbound, "_join", joining)


def rest_is_lost(plant: Plant) -> None:
    """What a full socket did not take of a large frame is forgotten."""
    resume = Carrier.resume_writing

    def resuming(self: Carrier) -> None:
        self._rest = None
        resume(self)

    plant(Carrier, "resume_writing", resuming)


def floor_unasked(plant: Plant) -> None:
    """A page is believed although the floor has passed it."""
    page = History.page

    async def believing(self: History, *arguments: Any) -> Page:
        found = await page(self, *arguments)
        return found._replace(head=found.head._replace(floor=0))

    plant(History, "page", believing)


def gap_unsaid(plant: Plant) -> None:
    """A gap moves the client on and does not tell."""

    def quiet(after: str | None, resumed: EventId, reason: GapReason) -> bytes:
        del after, reason
        return wire.mark(resumed)

    plant(wire, "gap", quiet)


def ground_unasked(plant: Plant) -> None:
    """A page is believed although the subscriber was moved while it was read."""

    async def believing(self: Replay, subscriber: Subscriber, after: int) -> Page:
        selection = Selection(tuple(subscriber.channels.exact), subscriber.channels.patterns)
        return await self._history.page(selection, after, self._pubsub.position, subscriber.page)

    plant(Replay, "_page", believing)


def keeps_the_oldest(plant: Plant) -> None:
    """Of a slot's events the first is kept."""

    def adding(self: Newest, frames: list[bytes]) -> None:
        for frame in frames:
            self.seen += 1
            self._frames.setdefault(latest.slot(frame), (self.seen, frame))

    plant(Newest, "add", adding)


def channels_mixed(plant: Plant) -> None:
    """The same key in two channels is one slot."""
    slot = latest.slot
    plant(latest, "slot", lambda frame: slot(frame).partition(b',"key":')[2])


def miscounted(plant: Plant) -> None:
    """One more is told to be skipped than was."""
    first = Newest.first

    def counting(self: Newest, most: int, count: int | None) -> tuple[list[bytes], int]:
        frames, skipped = first(self, most, count)
        return frames, skipped + bool(skipped)

    plant(Newest, "first", counting)


def rest_is_passed(plant: Plant) -> None:
    """What was collected and did not fit is taken as handed out."""
    plant(Newest, "__len__", lambda self: len(self.first(replay.CHUNK, None)[0]))


def fork_unasked(plant: Plant) -> None:
    """An id of a former epoch is believed to have had what replaces the skipped."""
    plant(Opening, "_unsure", lambda self: False)


def round_moves_nobody(plant: Plant) -> None:
    """A round is sent, and the cursors of its lines stay."""
    passing = Rounds._pass

    def standing(self: Rounds, current: Round, rest: Iterator[Line], most: int) -> int:
        lines = list(islice(rest, most))
        before = [line.cursor for line in lines]
        count = passing(self, current, iter(lines), most)
        for line, cursor in zip(lines, before, strict=True):
            line.cursor = cursor
        return count

    plant(Rounds, "_pass", standing)


def round_for_everybody(plant: Plant) -> None:
    """A round is also sent to those who had its events before they joined."""
    passing = Rounds._pass

    def spreading(self: Rounds, current: Round, rest: Iterator[Line], most: int) -> int:
        lines = list(islice(rest, most))
        for line in lines:
            line.cursor = min(line.cursor, current.frames[0][0] - 1)
        return passing(self, current, iter(lines), most)

    plant(Rounds, "_pass", spreading)


def beats_ahead(plant: Plant) -> None:
    """A heartbeat tells a position that the line's round has not reached."""
    plant(Rounds, "waits", lambda self, channel: False)


def spills_nothing(plant: Plant) -> None:
    """What waits for its round when the ground moves is forgotten."""

    def forgetting(self: Rounds) -> None:
        self._queue.clear()
        self._open.clear()
        self._busy.clear()
        self._waiting = 0

    plant(Rounds, "spill", forgetting)


def given_up_quietly(plant: Plant) -> None:
    """When too much waits it is dropped, and the lines stay live."""

    def dropping(self: Rounds, channel: str) -> None:
        for current in [it for it in self._queue if it.channel == channel and it.rest is None]:
            self._begin(current)
            self._queue.remove(current)
            self._ended(current)

    plant(Rounds, "_give_up", dropping)


BUGS = (
    round_moves_nobody, given_up_quietly,
    cursor_stays, ring_skips, joins_from_behind, paused_stays, stays_in_index, sent_again,
    rest_is_lost, floor_unasked, gap_unsaid, ground_unasked, keeps_the_oldest, channels_mixed,
    miscounted, rest_is_passed,
)  # fmt: skip
