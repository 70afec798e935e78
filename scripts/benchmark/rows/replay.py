"""Replay: how fast one client gets what it missed, from Postgres and from the ring."""

from __future__ import annotations

import asyncio
import socket
import time

from scripts.benchmark.clients import Chunks, Received
from scripts.benchmark.loadgen import MeasureError
from scripts.benchmark.log import Log, reached
from scripts.benchmark.meter import Meter
from scripts.benchmark.result import Goal, Line, Result
from scripts.benchmark.rounds import Measured, collect
from scripts.benchmark.world import Target, World

EVENTS = 300_000
RING = 512 * 1024 * 1024
GOALS = {"from Postgres": Goal("at least", 100_000), "from the ring": Goal("at least", 300_000)}
CHANNELS = {"from Postgres": "public.bench.log", "from the ring": "public.bench.ring"}
SECONDS = 120.0


def run(world: World, result: Result) -> None:
    """Two servers on one log: one has no ring, the other one that holds it all."""
    events = world.options.amount(EVENTS)
    result.method = (
        f"One client asks for {events:,} events `after` where they begin; from its request to the"
        " last of them. What came is compared with the log's positions afterwards, one by one."
        " From Postgres: a server without a ring. From the ring: the rows are deleted from the log"
        " first, so nothing else can have served them."
    )
    with (
        world.serve("tailrace", TAILRACE_RING_BYTES="0") as log,
        world.serve("tailrace", TAILRACE_RING_BYTES=str(RING)) as ring,
    ):
        servers = {"from Postgres": log, "from the ring": ring}
        filled = asyncio.run(_fill(world, servers, events))
        options = world.options

        def measure(name: str) -> Measured:
            return _measure(servers, name, *filled[name])

        collected = collect(
            list(servers),
            list(servers),
            measure,
            pairs=options.times(5),
            repeats=options.repeats,
            other_pct=options.other_pct,
        )
    for name, goal in GOALS.items():
        value = collected.value(name, "events/s")
        result.lines.append(Line("tailrace", name, "events/s", value, goal=goal))
    result.notes += collected.notes()


async def _fill(
    world: World, servers: dict[str, Target], events: int
) -> dict[str, tuple[str, list[int]]]:
    """Publish, and say for each channel where it begins and what there is."""
    filled = {}
    async with Log(world) as log:
        for name, channel in CHANNELS.items():
            epoch, start = await log.head()
            await log.publish(channel, events)
            end = await log.settled()
            positions = await log.positions(channel, start)
            if len(positions) != events or positions[-1] != end:
                raise MeasureError(f"{len(positions)} of {events} events are in the log")
            for target in servers.values():
                await reached(target, channel, end)
            filled[name] = (f"{epoch}.{start}", positions)
        await log.connection.execute(
            "DELETE FROM tailrace.event WHERE channel = $1", CHANNELS["from the ring"]
        )
        await log.connection.execute("VACUUM ANALYZE tailrace.event")
    return filled


def _measure(servers: dict[str, Target], name: str, after: str, positions: list[int]) -> Measured:
    target = servers[name]
    meter = Meter(*(one.process.pid for one in servers.values()), *target.others)
    path = f"/api/stream?channel={CHANNELS[name]}&after={after}"
    epoch = after.partition(".")[0]
    blocks, seconds = _receive(target.process.port, path, f"id: {epoch}.{positions[-1]}\n".encode())
    other = meter.other_pct()
    received, chunks = Received(), Chunks()
    _, _, body = b"".join(blocks).partition(b"\r\n\r\n")
    received.take(chunks.feed(body))
    if wrong := received.wrong(positions):
        raise MeasureError(f"replay {name}: {wrong}")
    return Measured({"events/s": len(positions) / seconds}, other)


def _receive(port: int, path: str, last: bytes) -> tuple[list[bytes], float]:
    """Everything up to the block that begins with `last`, unread, and how long that took."""
    blocks: list[bytes] = []
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.settimeout(10)
        start = time.perf_counter()
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        tail, whole = b"", False
        while not whole:
            block = sock.recv(1 << 20)
            if not block or time.perf_counter() - start > SECONDS:
                raise MeasureError(f"the replay ended after {sum(map(len, blocks))} bytes")
            blocks.append(block)
            tail = tail[-4096:] + block
            found = tail.find(last)
            whole = found >= 0 and tail.find(b"\n\n", found) >= 0
        return blocks, time.perf_counter() - start
