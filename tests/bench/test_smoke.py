"""The load generator and two servers for real, where there is a C compiler."""

import asyncio
import shutil

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

    def __init__(self) -> None:
        self.clients: list[asyncio.StreamWriter] = []
        self.published = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
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
