"""The load generator and two servers for real, where there is a C compiler."""

import asyncio
import json
import shutil
import subprocess
from contextlib import suppress
from typing import Any

import pytest

from scripts.benchmark import peers
from scripts.benchmark.loadgen import Load, MeasureError
from scripts.benchmark.world import Options, World

CLIENTS = 20
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no C compiler")


@pytest.mark.parametrize("name", ["c-send", "engine"])
def test_every_delivery_of_a_fan_out_is_counted(name: str) -> None:
    options = Options(
        pairs=1,
        peers=(),
        clients=None,
        seconds=0.3,
        quick=True,
        other_pct=100.0,
        repeats=0,
        access_log=False,
    )
    with World(options) as world, world.serve(name) as target:
        run = world.run(target.load(CLIENTS, phases="w4", seconds=0.3))
    [phase] = run.phases
    assert phase.received == phase.published * CLIENTS > 0
    assert phase.cpu_us > 0


class Lossy:
    """A server whose first client gets nothing after the two events that warm up."""

    def __init__(self, probe: bytes = b"") -> None:
        self.probe = probe
        """The answers to probes: the first comes late."""
        self.stall = 0.3
        self.clients: list[asyncio.StreamWriter] = []
        self.published = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if self.probe and head.startswith(b"GET /healthz"):
            await self._probed(reader, writer)
            return
        if head.startswith(b"GET"):
            writer.write(HEAD)
            self.clients.append(writer)
            return
        while head:
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
            self.published += 1
            for client in self.clients[self.published > 2 :]:
                client.write(b"data: " + body + b"\n\n")
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                head = b""
        writer.close()

    async def _probed(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self.stall)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                writer.write(self.probe)
                await reader.readuntil(b"\r\n\r\n")
        writer.close()


async def probing(answer: bytes) -> dict[str, Any]:
    """A phase with a probe, whose first answer takes 300 ms of 600."""
    lossy = Lossy(answer)
    server = await asyncio.start_server(lossy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    load = Load(port, "/sse", 0, phases="lg", seconds=0.6, drain=0.2, probe="/healthz")
    try:
        program = await asyncio.to_thread(peers.compiled, "sseload")
        out = await asyncio.to_thread(
            subprocess.run, load.command(program), check=True, capture_output=True, text=True
        )
    finally:
        server.close()
    line: dict[str, Any] = json.loads(out.stdout.splitlines()[-1])
    return line


async def test_probes_that_were_due_while_the_server_stalled_are_counted() -> None:
    line = await probing(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert line["probe_err"] == 0
    # 300 are due in 600 ms; of those half wait, 150 ms in the median of theirs.
    assert line["probe_n"] >= 250
    assert line["probe_p99"] > 250_000


@pytest.mark.parametrize("answer", [b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"])
async def test_probes_that_fail_are_told(answer: bytes) -> None:
    assert (await probing(answer))["probe_err"] > 0


async def test_one_client_that_gets_less_fails_the_measurement() -> None:
    lossy = Lossy()
    server = await asyncio.start_server(lossy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    load = Load(port, "/sse", CLIENTS, phases="w1", seconds=0.1, drain=0.2)
    try:
        program = await asyncio.to_thread(peers.compiled, "sseload")
        with pytest.raises(MeasureError, match=r"w1: \d+ of \d+ deliveries arrived \(lost 1, "):
            await asyncio.to_thread(load.run, program, None)
    finally:
        server.close()
        for client in lossy.clients:
            client.close()
