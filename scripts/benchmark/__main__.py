"""Measures Tailrace beside its peers: one run, the same work, ratios taken inside each round.

    scripts/bench --rows fanout,memory --pairs 9 --out report/bench
    scripts/bench --quick               # does everything work here? its figures mean nothing
    scripts/bench --list                # the rows, and how long each takes

Servers run on one core, the load on another, Postgres where it finds room; everything on loopback.
A round in which other processes took part of a core is repeated, and the report says how many
were. The medians stand with the lowest and the highest of all runs. Ends with 1 when a row failed:
one lost delivery is enough for that. A goal that is missed is no failure, but said.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from types import FrameType

from scripts.benchmark import peers, report
from scripts.benchmark.loadgen import MeasureError
from scripts.benchmark.peers import ROOT, NotInstalledError
from scripts.benchmark.process import ALL_CORES, StartError
from scripts.benchmark.result import Result
from scripts.benchmark.rows import ROWS, Row
from scripts.benchmark.world import PEERS, Options, World

BESIDE = {"fanout", "channels", "memory"}
"""The rows that measure the peers."""


def main() -> int:
    """The exit code: 0 when every row was measured."""
    parser = _parser()
    given = parser.parse_args()
    if given.list:
        for name, row in ROWS.items():
            print(f"{name:10} {row.title} (about {row.minutes} min)")
        return 0
    rows = _chosen(parser, given.rows, list(ROWS))
    names = [name for name in _chosen(parser, given.peers, ["c", *PEERS]) if name != "c"]
    options = Options(
        pairs=given.pairs or (2 if given.quick else 9),
        peers=tuple(names),
        clients=given.clients,
        seconds=given.seconds or (0.5 if given.quick else 2.0),
        quick=given.quick,
        other_pct=given.other_pct,
        repeats=given.repeats if given.repeats is not None else (0 if given.quick else 9),
        access_log=given.access_log,
    )
    # As Ctrl-C: through every `finally`, so that nothing is left running.
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    results: list[Result] = []
    facts = _facts(options, rows)
    try:
        with World(options) as world:
            for name in rows:
                results.append(_measure(name, ROWS[name], world))
                report.write(given.out, results, facts)
    except KeyboardInterrupt:
        print("Interrupted: everything that was started is ended", file=sys.stderr)
        return 130
    print(f"Report: {given.out / 'report.md'}")
    return int(any(result.failed is not None for result in results))


def _measure(name: str, row: Row, world: World) -> Result:
    result = Result(name, row.title)
    print(f"{name}: {row.title}", file=sys.stderr, flush=True)
    begun = time.monotonic()
    try:
        row.run(world, result)
    except (MeasureError, NotInstalledError, StartError) as error:
        result.failed = str(error)
    except Exception as error:
        # The other rows are still worth their time.
        traceback.print_exc()
        result.failed = f"{type(error).__name__}: {error}"
    result.seconds = time.monotonic() - begun
    print(report.summary(result), flush=True)
    return result


def _parser() -> argparse.ArgumentParser:
    text = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=text[0],
        epilog=text[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--list", action="store_true", help="the rows, and how long each takes")
    parser.add_argument("--rows", default=",".join(ROWS), help="comma-separated; default: all")
    parser.add_argument("--peers", default=",".join(["c", *PEERS]), help="default: %(default)s")
    parser.add_argument("--pairs", type=_count, help="rounds that count (default 9)")
    parser.add_argument("--clients", type=_count, help="default: each row's own")
    parser.add_argument("--seconds", type=_seconds, help="of each phase (default 2)")
    parser.add_argument("--quick", action="store_true", help="a smoke: few clients, two rounds")
    parser.add_argument(
        "--other-pct",
        type=float,
        default=15.0,
        help="CPU of other processes, in %% of a core, that spoils a round (default %(default)g)",
    )
    parser.add_argument("--repeats", type=int, help="spoiled rounds repeated at most (default 9)")
    parser.add_argument("--access-log", action="store_true", help="with Tailrace's access log")
    parser.add_argument("--out", type=Path, default=ROOT / "report" / "bench", help="a folder")
    return parser


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 50_000:
        msg = "1 to 50,000"
        raise argparse.ArgumentTypeError(msg)
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.1 <= value <= 60:
        msg = "0.1 to 60"
        raise argparse.ArgumentTypeError(msg)
    return value


def _chosen(parser: argparse.ArgumentParser, text: str, known: list[str]) -> list[str]:
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in known:
            parser.error(f"{name!r} is none of {', '.join(known)}")
    return list(dict.fromkeys(names))


def _facts(options: Options, rows: list[str]) -> dict[str, str]:
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    load = os.getloadavg()[0]
    return {
        "Tailrace": commit.stdout.strip() or "no repository",
        "machine": f"{platform.machine()}, {len(ALL_CORES)} cores, Python"
        f" {platform.python_version()}, load {load:.2f} before it began",
        "run": f"{options.pairs} rounds of {options.seconds:g} s"
        + (", quick: these figures mean nothing" if options.quick else ""),
    } | peers.versions(["c", *options.peers] if BESIDE.intersection(rows) else ["c"])


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
