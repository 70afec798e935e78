"""Measures what the event log costs and how fast it is; the figures are in docs/benchmarks.md.

    .venv/bin/python scripts/bench_log.py writers --clients 64 --pairs 9
    .venv/bin/python scripts/bench_log.py latency --pairs 9

`writers`: commits per second of pgbench on a watched table, every event stamped and delivered to a
client (the counts are compared), beside the same on a table that is not watched.
`latency`: from a commit to the event at one client's socket, beside a bare asyncpg listener on a
trigger's NOTIFY, in turn, in one run.
Both run on a Postgres of their own, whose disk flushes in `--fsync-us` (1,000 imitates a cloud's).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import asyncpg

sys.path.insert(0, str(Path(__file__).parent.parent))

from server.db.embedded import EmbeddedPostgres

KEY = "bench-key-" + "0" * 32
MARK = b'\ndata: {"channel"'
SETUP = """
    CREATE TABLE IF NOT EXISTS bench_plain (id bigserial PRIMARY KEY, v int, note text);
    CREATE TABLE IF NOT EXISTS bench_watched (id bigserial PRIMARY KEY, v int, note text);
    CREATE TABLE IF NOT EXISTS bench_notify (id bigserial PRIMARY KEY, v int, note text);
    CREATE OR REPLACE FUNCTION bench_tell() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_notify('bench', to_json(NEW)::text); RETURN NULL; END $$;
    CREATE OR REPLACE TRIGGER tell AFTER INSERT ON bench_notify
      FOR EACH ROW EXECUTE FUNCTION bench_tell();
    SELECT tailrace.watch('bench_watched', channel => 'public.bench');
"""


class World:
    """A Postgres with a slow disk, and one server on it."""

    def __init__(self, fsync_us: int, protocol: str) -> None:
        self.protocol = protocol
        self.directory = Path(tempfile.mkdtemp(prefix="tailrace-bench-", dir="/var/tmp"))
        self.directory.chmod(0o755)
        env = {}
        if fsync_us:
            library = self.directory / "slowsync.so"
            source = Path(__file__).with_name("slowsync.c")
            subprocess.run(
                ["cc", "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True
            )
            env = {"LD_PRELOAD": str(library), "SLOWSYNC_US": str(fsync_us)}
        self.postgres = EmbeddedPostgres(self.directory / "data", env=env)
        self.postgres.start()
        self.server = subprocess.Popen(
            [sys.executable, "-m", "server", "serve", "--port", "0", "--no-demo"],
            env={
                "PATH": os.environ["PATH"],
                "DATABASE_URL": self.postgres.url,
                "TAILRACE_SECRET": "s" * 32,
                "TAILRACE_API_KEY": KEY,
            },
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
        )
        assert self.server.stdout is not None
        first = self.server.stdout.readline()
        self.port = int(re.findall(r":([0-9]+)/", first)[0])

    def close(self) -> None:
        self.server.terminate()
        self.server.wait(10)
        self.postgres.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def pgbench(self, table: str, clients: int, seconds: float) -> tuple[float, int]:
        """Commits per second, and how many."""
        script = self.directory / f"{table}.sql"
        script.write_text(
            "\\set v random(1, 1000000)\n"
            f"INSERT INTO {table} (v, note) VALUES (:v, 'a note of some length');\n"
        )
        program = str(self.postgres.cluster.binaries.path("pgbench"))
        command = [program, "-n", "-M", self.protocol, "-c", str(clients), "-j", "2"]
        command += ["-T", str(int(seconds)), "-f", str(script), self.postgres.url]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        tps = float(re.findall(r"tps = ([0-9.]+)", done.stdout)[0])
        count = int(re.findall(r"actually processed: ([0-9]+)", done.stdout)[0])
        return tps, count


class Counter:
    """An SSE client that counts events and remembers when the last one came."""

    def __init__(self) -> None:
        self.events = 0
        self.arrived = asyncio.Event()
        self.at = 0.0

    async def run(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /api/stream?channel=public.bench HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            tail = b""  # a read may end inside of what is counted
            while data := await reader.read(1 << 18):
                self.at = time.perf_counter()
                data = tail + data
                self.events += data.count(MARK)
                tail = data[-len(MARK) + 1 :]
                self.arrived.set()
        finally:
            writer.close()


async def writers(world: World, clients: int, pairs: int, seconds: float) -> None:
    counter = Counter()
    task = asyncio.create_task(counter.run(world.port))
    plain, watched, told, expected = [], [], [], 0
    for number in range(-1, pairs):  # the first pair warms up
        a, _ = await asyncio.to_thread(world.pgbench, "bench_plain", clients, seconds)
        b, count = await asyncio.to_thread(world.pgbench, "bench_watched", clients, seconds)
        expected += count
        deadline = time.monotonic() + 60
        while counter.events < expected and time.monotonic() < deadline:
            counter.arrived.clear()
            async with asyncio.timeout(60):
                await counter.arrived.wait()
        assert counter.events == expected, f"{counter.events} delivered of {expected} committed"
        c, _ = await asyncio.to_thread(world.pgbench, "bench_notify", clients, min(seconds, 3))
        if number >= 0:
            plain.append(a)
            watched.append(b)
            told.append(c)
        row = f"  {a:8.0f} plain {b:8.0f} watched {b / a:6.3f}   {c:8.0f} trigger-NOTIFY"
        print(row, flush=True)
    task.cancel()
    medians = [f"{statistics.median(rates):.0f}" for rates in (plain, watched, told)]
    print(f"{clients} writers, commits/s: plain {medians[0]}, "
          f"watched {medians[1]}, trigger-NOTIFY {medians[2]}")  # fmt: skip
    show("watched / plain", [b / a for a, b in zip(plain, watched, strict=True)])
    print(f"delivered {counter.events} of {expected} committed")


async def latency(world: World, pairs: int, events: int) -> None:
    counter = Counter()
    task = asyncio.create_task(counter.run(world.port))
    writer = await asyncpg.connect(world.postgres.url)
    listener = await asyncpg.connect(world.postgres.url)
    heard = asyncio.Event()
    at = 0.0

    def hear(*_: object) -> None:
        nonlocal at
        at = time.perf_counter()
        heard.set()

    await listener.add_listener("bench", hear)
    await asyncio.sleep(0.5)
    rows = []
    for number in range(-1, pairs):
        ours, bare = [], []
        for _ in range(events):
            heard.clear()
            start = time.perf_counter()
            await writer.execute("INSERT INTO bench_notify (v, note) VALUES (1, 'a note')")
            async with asyncio.timeout(10):
                await heard.wait()
            bare.append(at - start)
            counter.arrived.clear()
            start = time.perf_counter()
            await writer.execute("INSERT INTO bench_watched (v, note) VALUES (1, 'a note')")
            async with asyncio.timeout(10):
                await counter.arrived.wait()
            ours.append(counter.at - start)
            await asyncio.sleep(0.005)
        if number >= 0:
            rows.append((1000 * statistics.median(ours), 1000 * statistics.median(bare)))
            print(
                f"  ours p50 {rows[-1][0]:.2f} ms   bare listener p50 {rows[-1][1]:.2f} ms",
                flush=True,
            )
    task.cancel()
    await writer.close()
    await listener.close()
    show("ours p50, ms", [row[0] for row in rows])
    show("bare listener p50, ms", [row[1] for row in rows])
    show("difference, ms", [row[0] - row[1] for row in rows])


def show(name: str, values: list[float]) -> None:
    print(f"{name}: median {statistics.median(values):.3f}, {min(values):.3f} to {max(values):.3f}"
          f" ({len(values)} pairs)")  # fmt: skip


async def main(arguments: argparse.Namespace) -> None:
    world = World(arguments.fsync_us, arguments.protocol)
    try:
        connection = await asyncpg.connect(world.postgres.url)
        await connection.execute(SETUP)
        await connection.close()
        if arguments.what == "writers":
            await writers(world, arguments.clients, arguments.pairs, arguments.seconds)
        else:
            await latency(world, arguments.pairs, arguments.events)
    finally:
        world.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("writers", "latency"))
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--events", type=int, default=100)
    parser.add_argument("--fsync-us", type=int, default=1000)
    parser.add_argument("--protocol", choices=("simple", "extended", "prepared"), default="simple")
    asyncio.run(main(parser.parse_args()))
