"""Measures while the test runs: counts, latencies, and one row of figures a second."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from scripts.load.histogram import Histogram, Sink
from scripts.load.machine import Load, load_of, own_cpu


def micros() -> int:
    """The clock that everything here is measured with, µs."""
    return time.monotonic_ns() // 1000


@dataclass(frozen=True)
class Row:
    """One interval. Latencies in µs, `None` without deliveries; `cpu` in cores; `rss` in bytes.

    `open`: streams that are ready at its end; `fewest`: at its worst moment.
    """

    at: float
    seconds: float
    phase: str
    open: int
    fewest: int
    published: int
    deliveries: int
    p50: int | None
    p99: int | None
    max: int | None
    publish_p99: int
    lag: int
    faults: int
    own_cpu: float
    cpu: float | None
    rss: int | None
    postgres_cpu: float | None


@dataclass
class Meter:
    """All figures of a run. `pid`: of the server, when it is local and known."""

    pid: int | None = None
    began: int = field(default_factory=micros)
    open: int = 0
    ready: int = 0
    fewest: int = 0
    """Least of `ready` since the last row."""
    live: Sink = field(default_factory=Sink)
    """Deliveries to clients that are connected and read."""
    recovered: Sink = field(default_factory=Sink)
    """Deliveries that a client caught up with after a reconnect: the outage is in them."""
    slow: Sink = field(default_factory=Sink)
    """Deliveries to the clients that stop reading."""
    publish: Sink = field(default_factory=Sink)
    """From when an event was due until its 200."""
    late: Histogram = field(default_factory=Histogram)
    """From when a request was due until it was sent: what the publisher was behind."""
    opening: Histogram = field(default_factory=Histogram)
    """From wanting a first connection until `ready`."""
    returning: Histogram = field(default_factory=Histogram)
    """From a connection's end until `ready` of the next."""
    phases: dict[str, Histogram] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    byes: Counter[str] = field(default_factory=Counter)
    cuts: int = 0
    gaps: Counter[str] = field(default_factory=Counter)
    published: int = 0
    refused: int = 0
    rows: list[Row] = field(default_factory=list)
    phase: str = "opening"
    loop_lag: int = 0
    """The worst delay of this process's own loop since the last row, µs."""

    def __post_init__(self) -> None:
        self._at = self.began
        self._published = 0
        self._cpu = own_cpu()
        self._load = load_of(self.pid) if self.pid else None

    def enter(self, phase: str) -> None:
        """A phase of the scenario begins: latencies from here on belong to it."""
        if phase != self.phase:
            self.roll()
            self.phase = phase

    def roll(self) -> Row:
        """End the interval."""
        now = micros()
        seconds = max(now - self._at, 1) / 1e6
        live, recovered, slow = self.live.roll(), self.recovered.roll(), self.slow.roll()
        publish = self.publish.roll()
        self.phases.setdefault(self.phase, Histogram()).merge(live)
        cpu, load = own_cpu(), load_of(self.pid) if self.pid else None
        some = live.total > 0
        p50, p99 = live.quantiles((0.5, 0.99))
        row = Row(
            at=(now - self.began) / 1e6,
            seconds=seconds,
            phase=self.phase,
            open=self.ready,
            fewest=min(self.fewest, self.ready),
            published=self.published - self._published,
            deliveries=live.total + recovered.total + slow.total,
            p50=p50 if some else None,
            p99=p99 if some else None,
            max=live.max if some else None,
            publish_p99=publish.quantile(0.99),
            lag=self.loop_lag,
            faults=self.faults.total(),
            own_cpu=(cpu - self._cpu) / seconds,
            cpu=_rate(self._load, load, seconds, "cpu"),
            rss=load.rss if load else None,
            postgres_cpu=_rate(self._load, load, seconds, "postgres_cpu"),
        )
        self._at, self._published, self._cpu, self._load = now, self.published, cpu, load
        self.loop_lag, self.fewest = 0, self.ready
        self.rows.append(row)
        return row

    @property
    def deliveries(self) -> int:
        """All so far, up to the last row."""
        return self.live.whole.total + self.recovered.whole.total + self.slow.whole.total


def _rate(before: Load | None, now: Load | None, seconds: float, name: str) -> float | None:
    """CPU seconds a second; children that ended in between make it smaller, never negative."""
    if before is None or now is None:
        return None
    used: float = getattr(now, name) - getattr(before, name)
    return max(0.0, used) / seconds


def line(row: Row, clients: int) -> str:
    """What is shown each second."""
    rate = 1 / row.seconds
    text = (
        f"{row.at:6.1f} s  {row.phase:<9} {row.open:,}/{clients:,} open"
        f"  {row.published * rate:,.0f} events/s  {row.deliveries * rate:,.0f} deliveries/s"
        f"  p50 {(row.p50 or 0) / 1000:.1f}  p99 {(row.p99 or 0) / 1000:.1f} ms"
        f"  faults {row.faults}"
    )
    if row.cpu is not None and row.rss is not None:
        text += f"  server {row.cpu:.2f} cores {row.rss / 1e6:.0f} MB"
    return text
