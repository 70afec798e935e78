"""The long run: `scripts/oracle webhooks --seconds 300 --seed 7`. Exit code 1 when the law was
broken."""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import logging
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from server.db.embedded import EmbeddedPostgres
from server.db.migrate import migrate
from server.db.pool import Database
from tests.webhooks.oracle.chaos import Report, forms, run, unheard
from tests.webhooks.oracle.kills import CRASH, KILLS
from tests.webhooks.oracle.plan import Plan
from tests.webhooks.oracle.planted import BUGS
from tests.webhooks.oracle.processes import Arrangement, world

SHOWN = 40


def main() -> int:
    """Parse, run, tell."""
    parser = argparse.ArgumentParser(prog="scripts/oracle webhooks", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None, help="decides who does what when")
    parser.add_argument("--senders", type=int, default=64)
    parser.add_argument("--users", type=int, default=16, help="the fewer, the more share a key")
    parser.add_argument("--pace", type=float, default=0.5, help="a sender's longest pause")
    parser.add_argument(
        "--workers",
        choices=get_args(Arrangement),
        default="beside",
        help="in the two servers, or in two processes beside them",
    )
    parser.add_argument("--bug", choices=BUGS, help="plant one: the law must be found broken")
    given = parser.parse_args()
    given.seed = random.randrange(10**6) if given.seed is None else given.seed
    print(f"seed {given.seed}", flush=True)
    # That connections are lost is what this is about.
    logging.disable(logging.ERROR)
    faulthandler.register(signal.SIGUSR1)
    place = Path(tempfile.mkdtemp(prefix="tailrace-oracle-", dir="/tmp"))
    place.chmod(0o711)
    report = asyncio.run(execute(place, given))
    tell(report)
    if report.violations:
        print(f"the processes' logs: {place}")
    else:
        shutil.rmtree(place)
    return 1 if report.violations else 0


async def execute(place: Path, given: argparse.Namespace) -> Report:
    """One run on a Postgres of its own, which flushes to its disk."""
    postgres = EmbeddedPostgres(place / "postgres")
    postgres.start()
    try:
        await migrate(Database(postgres.url, None, embedded=True))
        plan = Plan(given.seed, given.users)
        async with world(postgres.url, place, plan.users, given.workers, given.bug) as it:
            it.postgres = postgres
            return await run(
                it,
                plan,
                kills(given.seed, given.seconds),
                seed=given.seed,
                senders=given.senders,
                pace=given.pace,
            )
    finally:
        postgres.stop(immediate=True)


def kills(seed: int, seconds: float) -> Iterator[str]:
    """One kill after another, each kind as often as the others, until the time is up."""
    rng, end = random.Random(f"{seed}/kinds"), time.monotonic() + seconds
    kinds = (*KILLS, CRASH)
    while time.monotonic() < end:
        yield from rng.sample(kinds, len(kinds))


def tell(report: Report) -> None:
    """The report."""
    ledger = report.ledger
    answers = [attempt.status for attempt in ledger.attempts]
    acknowledged = answers.count(200)
    print("kills (of them with work in flight that was lost)")
    for kind in (*KILLS, CRASH):
        print(f"  {kind:12} {report.kills[kind]:6} {report.hits[kind]:6}")
    by_form = ", ".join(
        f"{form} {count}" for form, count in forms(ledger.messages.values()).items()
    )
    print(f"messages     {len(ledger.messages)} ({by_form})")
    print(
        f"attempts     {len(answers)}: {acknowledged} acknowledged"
        f" ({acknowledged - len(ledger.messages)} of them repeats), {answers.count(None)} without"
        f" an answer ({unheard(ledger, report.books)} of them stored all the same),"
        f" {len(answers) - acknowledged - answers.count(None)} told to come again"
    )
    books = report.books
    print(
        f"effects      {len(books.payments)} payments, {len(books.subscriptions)} subscriptions,"
        f" {len(books.notices)} notifications, {sum(books.credits.values())} credits"
    )
    rate = len(ledger.messages) / report.seconds
    print(f"throughput   {rate:.0f} messages/s in {report.seconds:.0f} s, the kills included")
    print(f"violations   {len(report.violations)}")
    for violation in report.violations[:SHOWN]:
        print(f"  {violation}")


if __name__ == "__main__":
    sys.exit(main())
