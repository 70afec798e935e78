"""Memory: what one more idle subscriber costs, when the server already has a thousand."""

from __future__ import annotations

from scripts.benchmark.result import Goal, Line, Result
from scripts.benchmark.rounds import Measured, collect
from scripts.benchmark.world import World

CLIENTS = 10_000
FEWEST = 1_000
"""Fewer fit into pages that the server has anyway."""
SHARE = 5
"""The first fifth of the clients is the base, which is not counted."""
GOAL = Goal("at most", 2.5)
WHAT = "an idle subscriber"


def run(world: World, result: Result) -> None:
    """The engine, the whole server, and the peers."""
    options = world.options
    clients = max(options.population(CLIENTS), FEWEST)
    base = clients // SHARE
    result.method = (
        f"PSS of the server and its children with {base:,} idle clients and with {clients:,}, one"
        " second after the last is connected: the difference for each client. The kernel's socket"
        " buffers are in nobody's PSS."
    )
    servers = ["tailrace", "engine", *options.peers]

    def measure(name: str) -> Measured:
        with world.serve(name) as target:
            run = world.run(target.load(clients, grown=base))
        return Measured({WHAT: run.connected.grown_kb})

    collected = collect(
        servers,
        ["tailrace", "engine"],
        measure,
        pairs=options.times(3),
        repeats=0,
        other_pct=options.other_pct,
    )
    for name in filter(collected.has, servers):
        goal = GOAL if name in {"tailrace", "engine"} else None
        result.lines.append(Line(name, WHAT, "KB", collected.value(name, WHAT), goal=goal))
    result.notes += collected.notes()
