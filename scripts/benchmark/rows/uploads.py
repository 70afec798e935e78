"""Uploads: how fast a large file is taken, and that the server's memory does not grow with it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from scripts.benchmark.loadgen import MeasureError
from scripts.benchmark.meter import Meter, used
from scripts.benchmark.peers import ROOT
from scripts.benchmark.process import ALL_CORES, pss_kb
from scripts.benchmark.result import Goal, Line, Result
from scripts.benchmark.rounds import Measured, collect
from scripts.benchmark.world import KEY, Target, World

MIB = 1024 * 1024
LARGE, SMALL, AT_ONCE = 1024 * MIB, 20 * MIB, 50
TINY = 4096
QUICK = 16
"""A smoke has so much smaller files."""
ROOM = 3
"""Times the large file: it, its copy, and what the disk's cache has not written yet."""
LOOK = 0.02
"""Seconds between two looks at the server's memory."""
OURS, PLAIN = "tailrace", "plain Python"
START = b"\0\0\0\x18ftypisom\0\0\2\0isommp41"
RATE, CPU, GROWTH = "one large file", "CPU", "growth while it comes"
MANY_RATE, MANY_GROWTH = "many at once", "growth while many come"
SENDER = "the sender's CPU"
SHARE, MEMORY = Goal("at least", 0.8), Goal("at most", 16)


def run(world: World, result: Result) -> None:
    """Large ones one by one beside a plain copy, and many at once."""
    options = world.options
    divisor, count = (QUICK, 5) if options.quick else (1, options.clients or AT_ONCE)
    large, small = LARGE // divisor, SMALL // divisor
    result.method = (
        f"A file of {large // MIB:,} MiB (policy `media`, bytes that begin as an mp4 and are random"
        " from there on), in memory, sent in one form by `sendfile` from a process of its own:"
        " from the connect to the whole 200, when the file is checked, safe on the disk (fsync),"
        " in the store and in Postgres. Beside it, in turn, a plain Python process that reads the"
        " same file, hashes it (SHA-256), writes it to the same disk and calls fsync, 1 MiB at a"
        " time. Before each, as much is written and removed, so that the memory for it is there (a"
        " virtual machine gives it back when it is free for a while, and getting it again costs"
        " three times the write). Every answer must have the right hash and size, and what was"
        " stored is removed before the next. Growth: PSS of the server, looked at every"
        f" {LOOK * 1000:.0f} ms while that file comes, and while {count} of {small // MIB:,} MiB"
        f" come at once, above what it was before, after one of {small // MIB:,} MiB and {count}"
        " tiny ones at once. All processes on all cores."
    )
    with _files(large, small) as (one, *others):

        def measure(name: str) -> Measured:
            if name == PLAIN:
                return _plain(world, one)
            return _ours(world, one, others, count)

        collected = collect(
            [OURS, PLAIN],
            [OURS, PLAIN],
            measure,
            pairs=options.pairs,
            repeats=options.repeats,
            other_pct=options.other_pct,
        )
    ratio = collected.ratio(OURS, PLAIN, RATE)
    plain = collected.value(PLAIN, RATE)
    result.lines += [
        Line(OURS, RATE, "MB/s", collected.value(OURS, RATE), ratio, PLAIN, SHARE),
        Line(PLAIN, RATE, "MB/s", plain),
        Line(
            OURS, CPU, "ms/MB", collected.value(OURS, CPU), collected.ratio(OURS, PLAIN, CPU), PLAIN
        ),
        Line(PLAIN, CPU, "ms/MB", collected.value(PLAIN, CPU)),
        Line(OURS, GROWTH, "MB", collected.value(OURS, GROWTH), goal=MEMORY),
        Line(OURS, MANY_GROWTH, "MB", collected.value(OURS, MANY_GROWTH), goal=MEMORY),
        Line(OURS, MANY_RATE, "MB/s", collected.value(OURS, MANY_RATE)),
        Line(OURS, SENDER, "ms/MB", collected.value(OURS, SENDER)),
    ]
    result.notes += collected.notes()


class Sample:
    """A file to send, and what the server has to find it to be."""

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size
        digest = hashlib.sha256()
        with path.open("wb") as file:
            for start in range(0, size, MIB):
                block = os.urandom(min(MIB, size - start))
                if not start:
                    block = START + block[len(START) :]
                digest.update(block)
                file.write(block)
        self.sha256 = digest.hexdigest()


@contextmanager
def _files(large: int, small: int) -> Iterator[list[Sample]]:
    """The files to send, in memory where there is room.

    Raises:
        MeasureError: there is none.
    """
    place = next((path for path in ("/dev/shm", "/var/tmp") if _free(path) > 2 * large), None)
    if place is None or _free("/var/tmp") < ROOM * large + AT_ONCE * small:
        msg = f"no room for files of {large // MIB:,} MiB: /var/tmp has {_free('/var/tmp') // MIB}"
        raise MeasureError(msg)
    folder = Path(tempfile.mkdtemp(prefix="tailrace-bench-", dir=place))
    try:
        yield [Sample(folder / f"{size}.mp4", size) for size in (large, small, TINY)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free(directory: str) -> int:
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return 0


def _touch(world: World, size: int) -> None:
    """Write as much, and remove it.

    A virtual machine gives memory back that has been free for a second or two, and who writes next
    pays for getting it again, three times the write: so each run is given memory that is there.
    """
    warm = world.folder / "warm"
    block = bytes(MIB)
    with warm.open("wb") as file:
        for _ in range(size // MIB):
            file.write(block)
    warm.unlink()


def _plain(world: World, sample: Sample) -> Measured:
    target = world.folder / "plain"
    _touch(world, sample.size)
    meter = Meter()
    told = _run("scripts.benchmark.plainly", sample.path, target)
    other = meter.other_pct()
    target.unlink()
    if told["sha256"] != sample.sha256:
        raise MeasureError("the plain copy has another hash")
    megabytes = sample.size / 1e6
    return Measured({RATE: megabytes / told["seconds"], CPU: told["cpu"] * 1000 / megabytes}, other)


def _ours(world: World, one: Sample, small: Sequence[Sample], count: int) -> Measured:
    with world.serve("tailrace") as target:
        pid = target.process.pid
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), ALL_CORES)
        # What is loaded once and stays is no growth: modules, threads, connections to Postgres.
        _send(world, target, small[0], 1)
        _send(world, target, small[1], count)
        _touch(world, one.size)
        meter = Meter(pid, *target.others)
        before = used([pid])
        with Growth(pid) as growth:
            told = _send(world, target, one, 1)
        cpu, elsewhere = used([pid]) - before, meter.other_pct()
        with Growth(pid) as many:
            together = _send(world, target, small[0], count)
    megabytes = one.size / 1e6
    return Measured(
        {
            RATE: megabytes / told["seconds"],
            CPU: cpu * 1000 / megabytes,
            SENDER: told["cpu"] * 1000 / megabytes,
            GROWTH: growth.mb,
            MANY_RATE: small[0].size * count / 1e6 / together["seconds"],
            MANY_GROWTH: many.mb,
        },
        elsewhere,
    )


def _send(world: World, target: Target, sample: Sample, count: int) -> dict[str, Any]:
    """Send a file so many times at once, and remove what came of it.

    Raises:
        MeasureError: not every one was taken as it is.
    """
    told = _run(
        "scripts.benchmark.sender",
        target.process.port, KEY, "media", "video/mp4", sample.path, count,
    )  # fmt: skip
    answers = told["answers"]
    found = {(answer["sha256"], answer["size"]) for answer in answers}
    if len(answers) != count or found != {(sample.sha256, sample.size)}:
        msg = f"{len(answers)} of {count} uploads were taken, as {found}"
        raise MeasureError(msg)
    ids = {answer["id"] for answer in answers}
    stored = [path for path in world.folder.glob("*/data/uploads/**/*") if path.name in ids]
    if len(stored) != count or {path.stat().st_size for path in stored} != {sample.size}:
        msg = f"{len(stored)} of {count} files are in the store"
        raise MeasureError(msg)
    for path in stored:
        path.unlink()
    return told


def _run(module: str, *arguments: object) -> dict[str, Any]:
    """Run a program of ours on all cores; what it tells.

    Raises:
        MeasureError: it failed.
    """
    done = subprocess.run(
        ["taskset", "-c", ",".join(map(str, sorted(ALL_CORES))), sys.executable, "-m", module]
        + [str(argument) for argument in arguments],
        check=False,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode != 0 or done.stderr:
        msg = f"{module} failed: {done.stderr.strip()[-500:]}"
        raise MeasureError(msg)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


class Growth:
    """A context: how much the memory of a process was at most above what it was at the begin."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._before = self._most = 0

    @property
    def mb(self) -> float:
        """MB, as far as the looks saw it."""
        return (self._most - self._before) * 1024 / 1e6

    def __enter__(self) -> Self:
        self._before = self._most = pss_kb(self._pid)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._most = max(self._most, pss_kb(self._pid))

    def _look(self) -> None:
        while not self._ended.wait(LOOK):
            self._most = max(self._most, pss_kb(self._pid))
