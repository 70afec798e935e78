"""A server with one bug: `python -m tests.oracle.planted <bug> serve …`.

Each bug is one that a careless change could bring, planted where that change would be made. The
oracle has to find every one of them; scenarios.py says how.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from server import run
from server.__main__ import main
from server.db.migrate import migrate
from server.db.pool import Database, connect
from server.log.history import History, Page
from server.log.model import Event, EventId, GapReason, Selection
from server.log.reader import Reader
from server.stream import wire
from server.stream.outbound import Line
from server.stream.pubsub import PubSub
from server.stream.rounds import Round, Rounds
from server.stream.service import Service, Start

EVERY = 5
"""Of so many positions one is hit."""

# The outbox that everybody writes at first: positions are the ids that writers took.
_BY_ID = """
    SELECT pg_advisory_xact_lock(1);  -- several servers may be starting
    CREATE OR REPLACE FUNCTION tailrace.stamp(max_rows integer, lease_ms integer DEFAULT 0)
    RETURNS TABLE (epoch text, pos bigint, channel text, key text, body text) LANGUAGE plpgsql AS $$
    #variable_conflict use_column
    DECLARE hi bigint;
    BEGIN
      WITH batch AS (DELETE FROM tailrace.outbox RETURNING *), stamped AS (
        INSERT INTO tailrace.event (pos, at, channel, type, key, message_id, data)
        SELECT id, at, channel, type, key, coalesce(message_id, gen_random_uuid()), data
        FROM batch RETURNING pos
      ) SELECT max(pos) INTO hi FROM stamped;
      IF hi IS NOT NULL THEN
        UPDATE tailrace.head SET pos = greatest(pos, hi);
        PERFORM pg_notify('tailrace', '1-' || hi);
        RETURN QUERY SELECT NULL::text, hi, NULL::text, NULL::text, NULL::text;
      END IF;
    END $$"""


def skip() -> None:
    """An event is published to nobody."""
    publish = PubSub.publish

    def skipping(self: PubSub, events: Sequence[Event]) -> None:
        publish(
            self,
            [
                item._replace(channel="ops.nobody") if item.pos % EVERY == 0 else item
                for item in events
            ],
        )

    _plant(PubSub, "publish", skipping)


def twice() -> None:
    """An event is put into its channel's round, and once more."""
    add = Rounds.add

    def adding(self: Rounds, channel: str, pos: int, frame: bytes) -> None:
        add(self, channel, pos, frame)
        if pos % EVERY == 0:
            add(self, channel, pos, frame)

    _plant(Rounds, "add", adding)


def swap() -> None:
    """The last two events of a round leave in the wrong order."""
    begin = Round.begin

    def beginning(self: Round, lines: Iterable[Line]) -> Iterator[Line]:
        if len(self.frames) > 1:
            (one, first), (other, second) = self.frames[-2:]
            self.frames[-2:] = [(one, second), (other, first)]
        return begin(self, lines)

    _plant(Round, "begin", beginning)


def by_id() -> None:
    """Replay and delivery by `id > last`, where ids are not in the order of commits."""

    async def migrating(database: Database) -> None:
        await migrate(database)
        connection = await connect(database)
        await connection.execute(_BY_ID)
        await connection.close()

    def deliver(self: Reader, events: Sequence[Event]) -> None:
        if fresh := [item for item in events if item.pos > self.position]:
            self.position = fresh[-1].pos
            self._sink.publish(fresh)

    _plant(run, "migrate", migrating)
    _plant(Reader, "_deliver", deliver)


def swallow() -> None:
    """A gap moves the client on and does not tell."""

    def quiet(after: str | None, resumed: EventId, reason: GapReason) -> bytes:
        del after, reason
        return wire.mark(resumed)

    _plant(wire, "gap", quiet)


def floor_first() -> None:
    """The floor is read before the page that it is to vouch for."""
    page = History.page

    async def early(self: History, selection: Selection, after: int, upto: int, limit: int) -> Page:
        head = await self.head()
        return (await page(self, selection, after, upto, limit))._replace(head=head)

    _plant(History, "page", early)


def from_head() -> None:
    """A client that comes back is joined to the present, and its id forgotten."""

    async def present(self: Service, *_: object) -> Start:
        return Start(self.pubsub.id)

    _plant(Service, "start", present)


def early_mark() -> None:
    """A replay's id-only blocks claim the head instead of what was looked through."""
    event = wire.event

    def marking(epoch: str, item: Event) -> bytes:
        return wire.mark(EventId(epoch, item.pos + 1)) + event(epoch, item)

    _plant(wire, "event", marking)


BUGS: dict[str, Callable[[], None]] = {
    "skip": skip,
    "twice": twice,
    "swap": swap,
    "by-id": by_id,
    "swallow": swallow,
    "floor-first": floor_first,
    "from-head": from_head,
    "early-mark": early_mark,
}


def _plant(owner: Any, name: str, bug: Callable[..., Any]) -> None:
    """Replace something that is really there."""
    assert hasattr(owner, name), f"{owner} has no {name} any more: plant the bug elsewhere"
    setattr(owner, name, bug)


if __name__ == "__main__":
    BUGS[sys.argv.pop(1)]()
    main(prog_name="tailrace")
