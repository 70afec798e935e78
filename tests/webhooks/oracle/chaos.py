"""A run: senders and kills at once; then quiet, until all is acknowledged and handled; then
judgement."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp

from tests.waiting import until
from tests.webhooks.oracle.books import money, notices, subscriptions
from tests.webhooks.oracle.kills import Kills
from tests.webhooks.oracle.law import answered, finished, in_order, stored, together
from tests.webhooks.oracle.model import Books, Ledger, Message, Violation
from tests.webhooks.oracle.plan import Plan
from tests.webhooks.oracle.processes import World
from tests.webhooks.oracle.senders import Sender
from tests.webhooks.oracle.witness import books, hurry, pending

if TYPE_CHECKING:
    from server.db.pool import Connection

STUCK = 15.0
"""Seconds without progress after which what is left counts as never to be done."""


@dataclass(slots=True)
class Report:
    """What was done and what was found."""

    ledger: Ledger = field(default_factory=Ledger)
    kills: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    books: Books = field(default_factory=lambda: Books(()))
    violations: list[Violation] = field(default_factory=list)

    @property
    def kinds(self) -> set[str]:
        """The kinds of violations."""
        return {found.kind for found in self.violations}


def judge(ledger: Ledger, held: Books) -> list[Violation]:
    """Every violation of the law."""
    parts: tuple[Iterator[Violation], ...] = (
        stored(ledger, held),
        answered(ledger),
        finished(ledger, held),
        together(held),
        in_order(ledger, held),
        money(ledger, held),
        subscriptions(ledger, held),
        notices(ledger, held),
    )
    return [found for part in parts for found in part]


async def run(
    world: World,
    plan: Plan,
    kills: Iterable[str],
    *,
    seed: int,
    senders: int = 64,
    pace: float = 1.0,
    least: int = 0,
) -> Report:
    """Send until all kills are done and at least `least` messages are in, then judge."""
    report = Report()
    started = time.monotonic()
    doer = Kills(world, report.ledger, random.Random(f"{seed}/kills"))
    timeout = aiohttp.ClientTimeout(total=None)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        crowd = [
            Sender(session, world.servers, report.ledger, random.Random(f"{seed}/{number}"), pace)
            for number in range(senders)
        ]
        messages = plan.messages()
        async with asyncio.TaskGroup() as group:
            at_work = [group.create_task(one.run(messages)) for one in crowd]
            for kind in kills:
                await doer.do(kind)
            await until(lambda: len(report.ledger.messages) >= least)
            for one in crowd:
                one.over = True
            await asyncio.gather(*at_work)
        await doer.recovered(world.processes)
        report.seconds = time.monotonic() - started
        connection = await world.connect()
        await _quiet(connection, crowd)
    report.books = await books(connection)
    await connection.close()
    report.kills, report.hits = doer.done, doer.hits
    report.violations = judge(report.ledger, report.books)
    for process in world.processes:
        report.violations += [Violation("server", *one[1:]) for one in process.complaints()]
    return report


async def _quiet(connection: Connection, crowd: Sequence[Sender]) -> None:
    """Until everything is acknowledged and handled, or nothing moves any more."""
    left = [message for one in crowd for message in one.left]
    finisher = crowd[0]
    rest, moved = (len(left), 0), time.monotonic()
    while time.monotonic() - moved < STUCK:
        done = await asyncio.gather(*(finisher.finish(message) for message in left))
        left = [message for message, ok in zip(left, done, strict=True) if not ok]
        await hurry(connection)
        waiting = await pending(connection)
        if not left and not waiting:
            return
        if (len(left), waiting) != rest:
            rest, moved = (len(left), waiting), time.monotonic()
        await asyncio.sleep(0.05)


def unheard(ledger: Ledger, held: Books) -> int:
    """Messages that were stored for an attempt which then had no answer: in, and nobody told."""
    received: dict[tuple[str, str], float] = {}
    for row in held.rows:
        received[row.source, row.message_id] = row.received
    return sum(
        attempt.status is None
        and attempt.ended is not None
        and attempt.began <= received.get(attempt.name, 0.0) <= attempt.ended
        for attempt in ledger.attempts
    )


def forms(messages: Iterable[Message]) -> Counter[str]:
    """How many messages there were of each form."""
    return Counter(message.form for message in messages)
