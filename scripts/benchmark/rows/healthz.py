"""Responsiveness: what another request waits while an event goes out to thousands."""

from __future__ import annotations

from scripts.benchmark.result import Goal, Line, Result
from scripts.benchmark.rounds import Measured, collect
from scripts.benchmark.world import World

CLIENTS = 10_000
WHAT = "`GET /healthz`, p99"
GOAL = Goal("at most", 15.0)


def run(world: World, result: Result) -> None:
    """The whole server and the engine."""
    options = world.options
    clients = options.population(CLIENTS)
    result.method = (
        f"`GET /healthz` every 2 ms on one more connection, while one event after the other goes"
        f" out to {clients:,} clients without a pause, each counted from when it was due (what fell"
        " due while one was waited for, too); the load generator that measures it also"
        " reads for all the clients, which is in the figure."
    )
    servers = ["tailrace", "engine"]

    def measure(name: str) -> Measured:
        with world.serve(name) as target:
            load = target.load(
                clients, phases="w1g", seconds=max(options.seconds, 3), probe="/healthz"
            )
            run = world.run(load)
        return Measured({WHAT: run.phases[0].probe_p99 / 1000}, run.other_pct)

    collected = collect(
        servers,
        servers,
        measure,
        pairs=options.times(5),
        repeats=options.repeats,
        other_pct=options.other_pct,
    )
    for name in servers:
        result.lines.append(Line(name, WHAT, "ms", collected.value(name, WHAT), goal=GOAL))
    result.notes += collected.notes()
