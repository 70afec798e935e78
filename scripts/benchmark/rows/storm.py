"""Connect storm: how fast streams begin, beside a take-over that does nothing else."""

from __future__ import annotations

import json
import urllib.request

from scripts.benchmark.result import Goal, Line, Result
from scripts.benchmark.rounds import Measured, collect
from scripts.benchmark.world import KEY, Target, World

CLIENTS = 10_000
AT_ONCE = 3_000
CHANNEL = "bench.storm"
READY = "event: ready\n"
WHAT, CPU = "connects to `ready`", "CPU of a connect"
GOAL = Goal("at least", 0.8)


def run(world: World, result: Result) -> None:
    """With a token for a channel that is closed to everybody else."""
    options = world.options
    clients, crowd = options.population(CLIENTS), options.population(AT_ONCE)
    result.method = (
        f"{clients:,} connects with a stream token, 100 in the making at a time, each until its"
        " `ready` is there. The bare take-over is the same aiohttp and the same `Response`, which"
        f" only hands the connection over and writes a `ready`. Then {crowd:,} connects at once."
    )

    def measure(name: str) -> Measured:
        with world.serve(name) as target:
            run = world.run(target.load(clients, **_with_token(target)))
        found = run.connected
        return Measured({WHAT: found.rate, CPU: found.cpu_us}, run.other_pct)

    collected = collect(
        ["bare", "tailrace"],
        ["bare", "tailrace"],
        measure,
        pairs=options.pairs,
        repeats=options.repeats,
        other_pct=options.other_pct,
    )
    for what, unit in ((WHAT, "connects/s"), (CPU, "µs")):
        result.lines.append(Line("bare", what, unit, collected.value("bare", what)))
        ratio = collected.ratio("tailrace", "bare", what)
        goal = GOAL if what == WHAT else None
        value = collected.value("tailrace", what)
        result.lines.append(Line("tailrace", what, unit, value, ratio, "bare", goal))
    result.notes += collected.notes()
    _at_once(world, result, crowd)


def _at_once(world: World, result: Result, crowd: int) -> None:
    def measure(name: str) -> Measured:
        with world.serve(name) as target:
            more = _with_token(target) | {"concurrency": crowd}
            run = world.run(target.load(crowd, **more))
        return Measured({"seconds": run.connected.seconds}, run.other_pct)

    options = world.options
    collected = collect(
        ["tailrace"],
        ["tailrace"],
        measure,
        pairs=options.times(3),
        repeats=options.times(3),
        other_pct=options.other_pct,
    )
    # 20 s without a new connect is what the load generator takes for a hang.
    what = f"{crowd:,} at once, until the last has its `ready`"
    result.lines.append(Line("tailrace", what, "s", collected.value("tailrace", "seconds")))
    result.notes += collected.notes()


def _with_token(target: Target) -> dict[str, object]:
    """How to connect: as a browser does that was given a token. The bare one asks for none."""
    path = f"/api/stream?channel={CHANNEL}"
    if not target.authorization:
        return {"path": path, "until": READY}
    request = urllib.request.Request(
        f"http://127.0.0.1:{target.process.port}/api/streams/token",
        json.dumps({"channels": [CHANNEL], "expiresIn": 600}).encode(),
        {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        token = json.load(answer)["token"]
    return {"path": path, "until": READY, "headers": (f"Authorization: Bearer {token}",)}
