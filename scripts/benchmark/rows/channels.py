"""Many channels: every client has one of its own, and each gets ten events a second."""

from __future__ import annotations

from scripts.benchmark.result import Goal, Line, Result
from scripts.benchmark.rounds import Measured, collect
from scripts.benchmark.world import World

CLIENTS = 5_000
RATE = 10
MOST, OFFERED, CPU = "at saturation", f"at {RATE} events/s for each", "CPU of an event"
BASIS = "aiohttp-sse"
GOAL = Goal("at least", 2.0)


def run(world: World, result: Result) -> None:
    """The engine beside those of the peers that can be published to in process."""
    options = world.options
    clients = options.population(CLIENTS)
    result.method = (
        f"{clients:,} clients on as many channels. A round is one event to each channel, published"
        " in process; `at saturation`: two rounds outstanding, the next when all of one has"
        f" arrived; else {RATE} rounds a second are offered. Every client gets every event of its"
        " channel once, and no other."
    )
    # Nchan is published to by one POST an event: the load generator would be measured.
    peers = [name for name in options.peers if name != "nchan"]
    servers = ["engine", *dict.fromkeys([BASIS, *peers])]

    def measure(name: str) -> Measured:
        with world.serve(name) as target:
            run = world.run(
                target.load(
                    clients,
                    path="/sse?channel=c%d",
                    publish=f"/pub?channels={clients}",
                    phases=f"r{RATE},w2",
                    seconds=options.seconds,
                )
            )
        offered, most = run.phases
        figures = {
            MOST: most.deliveries_per_second,
            CPU: most.cpu_us,
            OFFERED: offered.deliveries_per_second,
        }
        return Measured(figures, run.other_pct)

    collected = collect(
        servers,
        ["engine", BASIS],
        measure,
        pairs=options.pairs,
        repeats=options.repeats,
        other_pct=options.other_pct,
    )
    for what, unit in ((MOST, "events/s"), (OFFERED, "events/s"), (CPU, "µs")):
        for name in filter(collected.has, servers):
            ratio = None if name == BASIS else collected.ratio(name, BASIS, what)
            goal = GOAL if name == "engine" and what == MOST else None
            value = collected.value(name, what)
            result.lines.append(Line(name, what, unit, value, ratio, BASIS if ratio else "", goal))
    result.notes.append(f"offered: {clients * RATE:,} events/s")
    result.notes += collected.notes()
