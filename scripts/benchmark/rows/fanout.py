"""Fan-out: what one delivery costs the server, beside the C server and the peers."""

from __future__ import annotations

from scripts.benchmark.result import Goal, Line, Result
from scripts.benchmark.rounds import Collected, Measured, collect
from scripts.benchmark.world import World

CLIENTS = 5_000
ONE, MANY = "one event at a time", "16 events outstanding"
GOALS = {ONE: Goal("at most", 1.25), MANY: Goal("at most", 1.5)}
FLOORS = {ONE: "c-send", MANY: "c-batch"}
PHASES = {ONE: "w1", MANY: "w16"}


def engine(world: World, result: Result) -> None:
    """The engine, published to in process as the peers are."""
    result.method = (
        "CPU of the server for each delivery (utime + stime), closed loop: the next event is"
        " published when every client has the one before (or the 16 before). Each event is POSTed"
        " to the server itself. Every delivery is counted: nothing lost, nothing twice."
    )
    collected = _collect(world, ["engine", *world.options.peers])
    _lines(result, collected, ["engine", *world.options.peers], "engine")


def whole(world: World, result: Result) -> None:
    """The real server: POST, Postgres, clients."""
    result.method = (
        "As above over the whole path: `POST /api/events`, a commit in Postgres, the log's reader,"
        " the clients. CPU of the web process; Postgres runs where it finds room."
    )
    collected = _collect(world, ["tailrace"])
    _lines(result, collected, ["tailrace"], "tailrace")


def _collect(world: World, servers: list[str]) -> Collected:
    options = world.options
    clients = options.population(CLIENTS)

    def measure(name: str) -> Measured:
        whats = [what for what in PHASES if not name.startswith("c-") or FLOORS[what] == name]
        with world.serve(name) as target:
            phases = ",".join(PHASES[what] for what in whats)
            run = world.run(target.load(clients, phases=phases, seconds=options.seconds))
        figures = {}
        for what, phase in zip(whats, run.phases, strict=True):
            figures[what] = phase.cpu_us
            figures[f"{what}: events/s"] = phase.events_per_second
        return Measured(figures, run.other_pct)

    floors = list(FLOORS.values())
    return collect(
        [*floors, *servers],
        [*floors, servers[0]],
        measure,
        pairs=options.pairs,
        repeats=options.repeats,
        other_pct=options.other_pct,
    )


def _lines(result: Result, collected: Collected, servers: list[str], ours: str) -> None:
    for what, floor in FLOORS.items():
        result.lines.append(Line(floor, what, "µs", collected.value(floor, what)))
        for name in servers:
            if not collected.has(name):
                continue
            result.lines.append(
                Line(
                    name,
                    what,
                    "µs",
                    collected.value(name, what),
                    collected.ratio(name, floor, what),
                    floor,
                    GOALS[what] if name == ours else None,
                )
            )
    rate = collected.value(ours, f"{ONE}: events/s").median
    result.notes.append(f"{ours} passed {rate:.0f} events/s, one at a time, to every client")
    result.notes += collected.notes()
