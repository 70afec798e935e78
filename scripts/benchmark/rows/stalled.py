"""Stalled clients: what the healthy ones notice, what the server holds, what the stalled get."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import uvloop

from scripts.benchmark import peers
from scripts.benchmark.clients import Received, Stream, connect, first_failure
from scripts.benchmark.loadgen import Load, MeasureError, Run
from scripts.benchmark.log import Log
from scripts.benchmark.process import LOAD, pss_kb, raise_files
from scripts.benchmark.result import Goal, Line, Result
from scripts.benchmark.rounds import Measured, collect
from scripts.benchmark.stats import spread
from scripts.benchmark.world import CHANNEL, Target, World

CLIENTS = 2_000
SHARE = 20
"""One in so many is stalled."""
EVENTS = 100_000
FIRST = 3_000
"""Events that pass before anything is measured: more bytes than a connection holds."""
RATE = 20
LEAST = 5.0
"""Seconds of a measurement of latency: fewer events have no p99."""
RECEIVE_BUFFER = 4096
SMALLEST_EVENT = 200
HELD = 512 * 1024
"""More bytes than server and kernel may hold for one client: what it gets later was read again."""
P99 = "a healthy client's p99"
GOAL = Goal("at most", 1.2)
MEMORY_GOAL = Goal("at most", 64.0)
WAKE_SECONDS = 900.0
PATIENT = {"TAILRACE_WRITE_DEADLINE": "3600"}
"""A client that takes nothing is cut after 30 s by default, and its memory freed: that would spare
the server what is measured here."""


def run(world: World, result: Result) -> None:
    """Latency in pairs, then one flood."""
    options = world.options
    clients = options.population(CLIENTS)
    stalled = max(1, clients // SHARE)
    events = max(options.amount(EVENTS), 2 * FIRST)
    result.method = (
        f"{clients - stalled:,} clients on one channel over the whole path, {RATE} events/s: their"
        f" p99 with {stalled} more that read nothing, over their p99 without those, in pairs."
        f" Then {events:,} events pass while {stalled} read nothing; memory is looked at four times"
        " a second; then they read on, and each one's positions are compared with the log's."
        " The write deadline is put off, so that they are not cut."
    )

    def measure(name: str) -> Measured:
        return uvloop.run(_latency(world, clients - stalled, stalled if name == "stalled" else 0))

    collected = collect(
        ["healthy", "stalled"],
        ["healthy", "stalled"],
        measure,
        pairs=options.times(3),
        repeats=options.repeats,
        other_pct=options.other_pct,
    )
    result.lines.append(Line("none stalled", P99, "ms", collected.value("healthy", P99)))
    ratio = collected.ratio("stalled", "healthy", P99)
    value = collected.value("stalled", P99)
    result.lines.append(Line(f"{stalled} stalled", P99, "ms", value, ratio, "none stalled", GOAL))
    result.notes += collected.notes()
    uvloop.run(_flood(world, result, clients, stalled, events))


async def _stall(target: Target, count: int) -> tuple[list[Received], list[Stream]]:
    """Clients that have begun, and read nothing from here on."""
    received = [Received() for _ in range(count)]
    streams = []
    for one in received:
        stream = await connect(target.process.port, target.path, one, receive_buffer=RECEIVE_BUFFER)
        stream.transport.pause_reading()
        streams.append(stream)
    return received, streams


async def _latency(world: World, readers: int, stalled: int) -> Measured:
    with world.serve("tailrace", **PATIENT) as target:
        received, streams = await _stall(target, stalled)
        seconds = max(world.options.seconds, 1 if world.options.quick else LEAST)
        phases = f"w16x{FIRST}@120,r{RATE}@{seconds}"
        run = await _load(target.load(readers, phases=phases))
        _check_stalled(received, run.phases[0].published)
        for stream in streams:
            stream.transport.abort()
        phase = run.phases[1]
        return Measured({P99: phase.p99 / 1000}, phase.other_pct)


async def _flood(world: World, result: Result, clients: int, stalled: int, events: int) -> None:
    with world.serve("tailrace", **PATIENT) as target:
        async with Log(world) as log:
            received, streams = await _stall(target, stalled)
            start = max(int(one.last_id.partition(".")[2]) for one in received)
            before, peak = pss_kb(target.process.pid), Peak(target.process.pid)
            async with peak:
                phases = f"w64x{events}@1800"
                run = await _load(target.load(clients - stalled, phases=phases, drain=60.0))
                if run.phases[0].published != events:
                    msg = f"{run.phases[0].published} of {events} events passed in 1,800 s"
                    raise MeasureError(msg)
                _check_stalled(received, events)
                passed = peak.highest
                expected = await log.positions(CHANNEL, start)
                for stream in streams:
                    stream.transport.resume_reading()
                await _caught_up(received, streams, expected)
            if wrong := await first_failure(received, expected):
                raise MeasureError(f"stalled clients that woke up: {wrong}")
            for stream in streams:
                stream.transport.abort()
    for what, kb, goal in (
        (f"memory while {events:,} events pass", passed, MEMORY_GOAL),
        ("memory while they catch up", peak.highest, None),
    ):
        grown = spread([max(0, kb - before) / 1024])
        result.lines.append(Line(f"{stalled} stalled", what, "MB", grown, goal=goal))
    result.notes.append(
        f"all {stalled} that woke up got all {len(expected):,} events, in order, none twice"
        f" (memory before: {before / 1024:.0f} MB; the figures are what came on top, for"
        f" {clients - stalled:,} clients and the ring of 16 MB)"
    )


async def _load(load: Load) -> Run:
    """The load generator beside this loop."""
    raise_files(load.clients + 500)
    program = await asyncio.to_thread(peers.compiled, "sseload")
    process = load.start(program, LOAD)
    try:
        return await asyncio.to_thread(load.finish, process)
    finally:
        if process.poll() is None:
            process.kill()


def _check_stalled(received: list[Received], events: int) -> None:
    """They read nothing, and more has passed than can have been kept for them on the way."""
    if events * SMALLEST_EVENT < HELD and received:
        raise MeasureError(f"{events} events are too few to stall anybody")
    early = sum(bool(one.positions) for one in received)
    if early:
        raise MeasureError(f"{early} stalled clients were reading")


async def _caught_up(received: list[Received], streams: list[Stream], expected: list[int]) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WAKE_SECONDS
    while any(len(one.positions) < len(expected) for one in received):
        if loop.time() > deadline or any(stream.lost.done() for stream in streams):
            break  # who has not got everything is told by the comparison
        await asyncio.sleep(0.1)


class Peak:
    """The most memory that a process has had; a context."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.highest = pss_kb(pid)

    async def __aenter__(self) -> Peak:
        self._task = asyncio.create_task(self._look(), name="memory")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _look(self) -> None:
        while True:
            self.highest = max(self.highest, pss_kb(self._pid))
            await asyncio.sleep(0.25)
