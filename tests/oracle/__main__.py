"""The long run: `scripts/oracle --seconds 300 --seed 7`. Exit code 1 when the law was broken."""

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
from pathlib import Path

from tests.oracle.chaos import Chaos, Report, Shape
from tests.oracle.faults import CLIENT_FAULTS, SERVER_FAULTS
from tests.oracle.planted import BUGS
from tests.oracle.world import world

SHOWN = 40


def main() -> int:
    """Parse, run, tell."""
    parser = argparse.ArgumentParser(prog="scripts/oracle", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None, help="decides who does what when")
    parser.add_argument("--servers", type=int, default=2)
    parser.add_argument("--writers", type=int, default=32, help="a fifth of them over HTTP")
    parser.add_argument("--clients", type=int, default=24)
    parser.add_argument("--pace", type=float, default=0.15, help="a writer's longest pause")
    parser.add_argument("--faults", type=int, default=10, help="faults of servers in a round")
    parser.add_argument("--bug", choices=BUGS, help="plant one: the law must be found broken")
    given = parser.parse_args()
    seed = random.randrange(10**6) if given.seed is None else given.seed
    posters = given.writers // 5
    shape = Shape(
        writers=given.writers - posters, posters=posters, clients=given.clients, pace=given.pace
    )
    print(f"seed {seed}", flush=True)
    # That connections are lost is what this is about.
    logging.disable(logging.ERROR)
    faulthandler.register(signal.SIGUSR1)
    place = Path(tempfile.mkdtemp(prefix="tailrace-oracle-", dir="/tmp"))
    place.chmod(0o711)
    report = asyncio.run(run(place, seed, shape, given))
    if report.violations:
        print(f"the servers' logs: {place}")
    else:
        shutil.rmtree(place)
    return 1 if report.violations else 0


async def run(place: Path, seed: int, shape: Shape, given: argparse.Namespace) -> Report:
    """Rounds until the time is up, or the law is broken."""
    end, rng = time.monotonic() + given.seconds, random.Random(seed)
    async with world(place, given.servers, given.bug) as (it, witness):
        chaos = Chaos(it, witness, seed, shape)
        number = 0
        while not number or (time.monotonic() < end and not chaos.report.violations):
            number += 1
            await chaos.round(rng.choices(SERVER_FAULTS, k=given.faults))
            print(f"round {number}: {line(chaos.report)}", flush=True)
    chaos.audit()
    tell(chaos.report)
    return chaos.report


def line(report: Report) -> str:
    """The report in short."""
    return (
        f"{report.events} events, {report.told['event']} deliveries in"
        f" {report.told['sessions']} sessions, {report.told['gap']} gaps,"
        f" {report.seconds:.0f} s, {len(report.violations)} violations"
    )


def tell(report: Report) -> None:
    """The report in full."""
    print("\nfaults (of them with something in flight)")
    for kind in (*SERVER_FAULTS, *CLIENT_FAULTS):
        print(f"  {kind:10} {report.faults[kind]:6} {report.hits[kind]:6}")
    print(f"  no progress within 4 s: {report.stuck}")
    print(
        "\nwriters: " + ", ".join(f"{count} {did}" for did, count in sorted(report.wrote.items()))
    )
    print("clients: " + ", ".join(f"{count} {what}" for what, count in report.told.most_common()))
    print(f"\n{line(report)}")
    for violation in report.violations[:SHOWN]:
        print(f"  {violation}")


if __name__ == "__main__":
    sys.exit(main())
