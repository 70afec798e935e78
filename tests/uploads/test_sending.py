"""How files leave: to slow clients, and when something fails on the way."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import web

from server.uploads import sending
from server.uploads.sending import Sender
from server.uploads.store import StoreError
from server.uploads.stores.disk import DiskStore
from tests.tls import certificate
from tests.uploads.stores import KEY

CONTENT = random.Random(5).randbytes(12 * 1024 * 1024)
DEADLINE = 0.6


@asynccontextmanager
async def sent(directory: Path, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server that sends one file."""
    store = DiskStore(directory / "store")
    source = directory / "source"
    source.write_bytes(CONTENT)
    await store.put(KEY, source, size=len(CONTENT), content_type="image/png")
    sender = Sender(store, DEADLINE)

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = len(CONTENT)
        try:
            await sender.send(request, response, KEY, 0, len(CONTENT))
        except (StoreError, OSError):
            return web.Response(status=503)
        return response

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
        sender.close()
        await store.close()


@asynccontextmanager
async def asked(
    port: int, tls: ssl.SSLContext | None = None
) -> AsyncIterator[asyncio.StreamReader]:
    """An answer that comes to a client which takes little at once."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    name = "127.0.0.1" if tls else None
    reader, writer = await asyncio.open_connection(
        sock=sock, limit=16384, ssl=tls, server_hostname=name
    )
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    try:
        yield reader
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("encrypted", [False, True], ids=["sendfile", "pieces"])
async def test_a_slow_client_is_waited_for_while_it_takes_something(
    tmp_path: Path, encrypted: bool
) -> None:
    """The kernel holds megabytes for it, and tells only when a third of them is gone."""
    server, client = None, None
    if encrypted:
        server, trusted = certificate(tmp_path)
        client = ssl.create_default_context(cafile=str(trusted))
    async with sent(tmp_path, server) as port, asked(port, client) as reader:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        got = bytearray()
        end = asyncio.get_running_loop().time() + 2.5 * DEADLINE
        while asyncio.get_running_loop().time() < end:
            got += await reader.read(16384)
            await asyncio.sleep(DEADLINE / 20)
        while data := await reader.read(2**20):
            got += data
        assert got == CONTENT


async def test_without_a_descriptor_left_nothing_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the error would be the first bytes of the file."""

    def no_more(_: int) -> int:
        raise OSError(24, "Too many open files")

    async with sent(tmp_path) as port:
        monkeypatch.setattr(os, "dup", no_more)
        async with asked(port) as reader:
            answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 503 "), answer[:100]
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_a_fault_on_the_way_is_not_taken_for_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = asyncio.Event()

    async def broken(_: int) -> None:
        full.set()
        raise OSError(28, "no more watches")

    monkeypatch.setattr(sending, "_writable", broken)
    async with sent(tmp_path) as port, asked(port) as reader:
        await full.wait()
        answer = bytearray()
        with suppress(ConnectionResetError):
            while data := await reader.read(2**20):
                answer += data
    body = bytes(answer).partition(b"\r\n\r\n")[2]
    assert len(body) < len(CONTENT)
    assert CONTENT.startswith(body)
