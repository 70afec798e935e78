"""Runs the C load generator, and believes none of its figures before the counts are right."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.benchmark.process import on_core


class MeasureError(Exception):
    """A measurement whose figures are worth nothing: something was lost or refused."""


@dataclass(frozen=True)
class Connected:
    """How the clients came to be connected. `kb`, `grown_kb`: PSS of the server for each client,
    over all of them and over those after the first `grown` (0 if that was not asked for)."""

    clients: int
    seconds: float
    rate: float
    cpu_us: float
    kb: float
    grown_kb: float
    other_pct: float


@dataclass(frozen=True)
class Phase:
    """One phase's figures, of which every delivery arrived. Times in µs; `cpu_us` is the server's
    for each delivery; `other_pct`: CPU taken by what has nothing to do with it, 100 is a core."""

    name: str
    published: int
    received: int
    deliveries_per_second: float
    events_per_second: float
    p50: float
    p99: float
    cpu_us: float
    other_pct: float
    probes: int
    probe_p99: float


@dataclass(frozen=True)
class Run:
    """What one run of the load generator found."""

    connected: Connected
    phases: tuple[Phase, ...]

    @property
    def other_pct(self) -> float:
        """The worst of it: connecting is too short to be judged by it when phases follow."""
        return max((phase.other_pct for phase in self.phases), default=self.connected.other_pct)


@dataclass(frozen=True)
class Load:
    """One run to be: `clients` connections to `path` (`%d` in it: the client's number), then
    `phases` (see sseload.c) of `seconds` each, published by POST to `publish`."""

    port: int
    path: str
    clients: int
    phases: str = ""
    seconds: float = 2.0
    publish: str = "/pub"
    pids: Sequence[int] = ()
    others: Sequence[int] = ()
    headers: Sequence[str] = ()
    authorization: str = ""
    body: str = ""
    probe: str = ""
    concurrency: int = 100
    until: str = ""
    grown: int = 0
    drain: float = 20.0

    def command(self, program: Path) -> list[str]:
        """The argument list."""
        given: list[tuple[str, object]] = [
            ("-p", self.phases or ","),
            ("-u", f"127.0.0.1:{self.port}{self.publish}"),
            ("-P", ",".join(map(str, self.pids))),
            ("-O", ",".join(map(str, self.others))),
            ("-A", self.authorization and f"Authorization: {self.authorization}"),
            ("-b", self.body),
            ("-g", self.probe),
            ("-w", self.until),
            ("-G", self.grown),
            ("-c", self.concurrency),
            ("-k", self.drain),
            *(("-H", header) for header in self.headers),
        ]
        options = [part for name, value in given if value for part in (name, str(value))]
        address = ["127.0.0.1", str(self.port), self.path]
        return [str(program), "-s", *options, *address, str(self.clients), str(self.seconds)]

    @property
    def most_seconds(self) -> float:
        """More than it can take, unless something hangs."""
        total = 60.0 + self.clients / 200
        for phase in filter(None, self.phases.split(",")):
            _, found, own = phase.partition("@")
            total += (float(own) if found else self.seconds) + self.drain + 15
        return total

    def start(self, program: Path, core: int | None) -> subprocess.Popen[str]:
        """Begin it; give what it says to `read`."""
        with on_core(core):
            return subprocess.Popen(
                self.command(program),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )

    def finish(self, process: subprocess.Popen[str]) -> Run:
        """Wait for its end.

        Raises:
            MeasureError: as `read`, or it hangs.
        """
        try:
            out, err = process.communicate(timeout=self.most_seconds)
        except subprocess.TimeoutExpired:
            msg = f"the load generator was not done after {self.most_seconds:.0f} s"
            raise MeasureError(msg) from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        return self.read(process.returncode, out, err)

    def run(self, program: Path, core: int | None) -> Run:
        """Do it all.

        Raises:
            MeasureError: as `finish`.
        """
        return self.finish(self.start(program, core))

    def read(self, code: int, out: str, err: str) -> Run:
        """Its figures.

        Raises:
            MeasureError: it failed, or a count is wrong.
        """
        said = " / ".join(err.strip().splitlines()[-3:])
        if code != 0:
            msg = f"the load generator failed ({code}): {said}"
            raise MeasureError(msg)
        found = [json.loads(line) for line in out.splitlines()]
        names = [phase for phase in self.phases.split(",") if phase]
        if [line["phase"] for line in found] != ["connect", *names]:
            msg = f"phases are missing: {said}"
            raise MeasureError(msg)
        connected = _connected(found[0], self)
        return Run(connected, tuple(_phase(line, self) for line in found[1:]))


def _connected(line: Mapping[str, Any], load: Load) -> Connected:
    if line["connected"] != load.clients or line["failed"] or line["closed"]:
        msg = f"{line['connected']} of {load.clients} clients connected, {line['closed']} closed"
        raise MeasureError(msg)
    if load.grown and load.pids and line["kb_grown"] <= 0:
        msg = f"{line['kb_grown']} KB for each client is no memory"
        raise MeasureError(msg)
    return Connected(
        line["n"],
        line["secs"],
        line["cps"],
        line["cpu_us_per_conn"],
        line["kb_per_conn"],
        line["kb_grown"],
        line["other_pct"],
    )


def _phase(line: Mapping[str, Any], load: Load) -> Phase:
    """One phase, if every client has had every event once."""
    name = line["phase"]
    wrong = {
        count: line[count]
        for count in ("lost", "dup", "stray", "uneven_clients", "closed", "pub_err")
        if line[count]
    }
    if wrong or line["received"] != line["expected"]:
        told = ", ".join(f"{count} {value}" for count, value in wrong.items())
        msg = f"{name}: {line['received']} of {line['expected']} deliveries arrived ({told})"
        raise MeasureError(msg)
    if not line["published"] or line["expected"] != line["published"] * load.clients:
        msg = f"{name}: nothing was published"
        raise MeasureError(msg)
    if load.pids and name.startswith("w") and line["cpu_us"] <= 0:
        msg = f"{name}: too short to measure the server's CPU"
        raise MeasureError(msg)
    if load.probe and "g" in name and not line["probe_n"]:
        msg = f"{name}: no probe was answered"
        raise MeasureError(msg)
    if load.probe and "g" in name and line["probe_err"]:
        msg = f"{name}: {line['probe_err']} probes failed"
        raise MeasureError(msg)
    return Phase(
        name,
        line["published"],
        line["received"],
        line["dps"],
        line["eps"],
        line["p50"],
        line["p99"],
        line["cpu_us"],
        line["other_pct"],
        line.get("probe_n", 0),
        line.get("probe_p99", 0.0),
    )
