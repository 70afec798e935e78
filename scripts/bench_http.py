"""Measures `GET /api/hello` and `GET /api/posts/{id}` beside bare aiohttp and FastAPI on uvicorn.

    .venv/bin/python scripts/bench_http.py --pairs 9

Each server is one process on a loopback port; the runs alternate. FastAPI is not a dependency: it
is installed into a directory of its own by `--peers DIR` (`uv pip install --target DIR fastapi
uvicorn[standard] asyncpg`). The load is a small asyncio client with `--connections` keep-alive
connections, one request in flight on each, the same for all. The access log is written to a file.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import asyncpg

sys.path.insert(0, str(Path(__file__).parent.parent))

from server.db.embedded import EmbeddedPostgres

ROOT = Path(__file__).parent.parent

BARE = """
import os, sys, asyncpg, uvloop
from aiohttp import web
async def hello(request):
    return web.json_response({"message": "Hello World"})
async def post(request):
    row = await request.app["pool"].fetchrow("SELECT * FROM posts WHERE id = $1",
                                             int(request.match_info["id"]))
    return web.json_response({"id": str(row["id"]), "title": row["title"],
        "content": row["content"], "authorId": row["author_id"],
        "createdAt": row["created_at"].isoformat(), "updatedAt": row["updated_at"].isoformat()})
async def main():
    app = web.Application()
    app["pool"] = await asyncpg.create_pool(sys.argv[2], min_size=8, max_size=8)
    app.router.add_get("/api/hello", hello)
    app.router.add_get("/api/posts/{id}", post)
    return app
web.run_app(main(), host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None,
            loop=uvloop.new_event_loop())
"""
FASTAPI = """
import sys
from contextlib import asynccontextmanager
from datetime import datetime
import asyncpg, uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel
class Hello(BaseModel):
    message: str
class Post(BaseModel):
    id: str
    title: str
    content: str
    authorId: str
    createdAt: datetime
    updatedAt: datetime
@asynccontextmanager
async def life(app):
    app.state.pool = await asyncpg.create_pool(sys.argv[2], min_size=8, max_size=8)
    yield
app = FastAPI(lifespan=life)
@app.get("/api/hello")
async def hello() -> Hello:
    return Hello(message="Hello World")
@app.get("/api/posts/{id}")
async def post(id: int) -> Post:
    row = await app.state.pool.fetchrow("SELECT * FROM posts WHERE id = $1", id)
    if row is None:
        raise HTTPException(404)
    return Post(id=str(row["id"]), title=row["title"], content=row["content"],
        authorId=row["author_id"], createdAt=row["created_at"], updatedAt=row["updated_at"])
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
"""
SETUP = """
    INSERT INTO users (id, name, email) VALUES ('ada', 'Ada', 'ada@example.com');
    INSERT INTO posts (author_id, title, content)
    SELECT 'ada', 'A title of some length', repeat('words and more ', 20)
    FROM generate_series(1, 100)"""


class Server:
    """A process that serves on a port."""

    def __init__(self, name: str, command: list[str], port: int, env: dict[str, str]) -> None:
        self.name, self.port = name, port
        self.log = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            command, env=env, cwd=ROOT, stdout=self.log, stderr=self.log
        )

        if len(os.sched_getaffinity(0)) > 1:
            # A core for the servers, of which one works at a time; another one for the load.
            os.sched_setaffinity(self.process.pid, {min(os.sched_getaffinity(0))})

    async def ready(self) -> None:
        for _ in range(300):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                assert self.process.poll() is None, f"{self.name} has ended"
                await asyncio.sleep(0.1)
                continue
            writer.close()
            return
        sys.exit(f"{self.name} does not answer")

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)


class Load(asyncio.Protocol):
    """One keep-alive connection: the next request as soon as the answer is whole."""

    def __init__(self, request: bytes, count: list[int]) -> None:
        self.request, self.count, self.buffer = request, count, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(self.request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        assert head.startswith(b"HTTP/1.1 200"), head
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        if len(body) >= length:
            self.buffer = b""
            self.count[0] += 1
            self.transport.write(self.request)  # type: ignore[attr-defined]


async def rate(port: int, path: str, connections: int, seconds: float) -> float:
    """Requests per second."""
    loop = asyncio.get_running_loop()
    count = [0]
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: */*\r\n\r\n".encode()
    open_ = [
        await loop.create_connection(lambda: Load(request, count), "127.0.0.1", port)
        for _ in range(connections)
    ]
    await asyncio.sleep(0.2)
    before, start = count[0], time.perf_counter()
    await asyncio.sleep(seconds)
    result = (count[0] - before) / (time.perf_counter() - start)
    for transport, _ in open_:
        transport.abort()
    return result


def servers(directory: Path, url: str, peers: str | None) -> list[Server]:
    plain = {"PATH": os.environ["PATH"]}
    ours = plain | {"DATABASE_URL": url, "TAILRACE_SECRET": "s" * 32}
    result = [
        Server(
            "tailrace",
            [sys.executable, "-m", "server", "serve", "--port", "8471", "--no-demo"],
            8471,
            ours,
        )
    ]
    for name, text, port in (("aiohttp", BARE, 8472), ("fastapi", FASTAPI, 8473)):
        if name == "fastapi" and not peers:
            continue
        (directory / f"{name}_app.py").write_text(text)
        env = plain | ({"PYTHONPATH": peers} if peers and name == "fastapi" else {})
        command = [sys.executable, str(directory / f"{name}_app.py"), str(port), url]
        result.append(Server(name, command, port, env))
    return result


async def compare(running: list[Server], path: str, arguments: argparse.Namespace) -> None:
    rates: dict[str, list[float]] = {server.name: [] for server in running}
    for number in range(-1, arguments.pairs):  # the first round warms up
        for server in running:
            found = await rate(server.port, path, arguments.connections, arguments.seconds)
            if number >= 0:
                rates[server.name].append(found)
    print(path)
    for name, values in rates.items():
        ratios = [mine / other for mine, other in zip(rates["tailrace"], values, strict=True)]
        print(
            f"  {name:9} {statistics.median(values):7.0f} requests/s"
            f"   tailrace / {name}: {statistics.median(ratios):.2f}"
            f" ({min(ratios):.2f}-{max(ratios):.2f}, {len(ratios)} rounds)",
            flush=True,
        )


def start_postgres() -> tuple[Path, EmbeddedPostgres]:
    directory = Path(tempfile.mkdtemp(prefix="tailrace-bench-", dir="/var/tmp"))
    directory.chmod(0o755)
    postgres = EmbeddedPostgres(directory / "data")
    postgres.start()
    return directory, postgres


async def main(arguments: argparse.Namespace) -> None:
    directory, postgres = start_postgres()
    running: list[Server] = []
    try:
        running = servers(directory, postgres.url, arguments.peers)
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        await running[0].ready()  # it has made the tables
        connection = await asyncpg.connect(postgres.url)
        await connection.execute(SETUP)
        await connection.close()
        for server in running:
            await server.ready()
        for path in ("/api/hello", "/api/posts/17"):
            await compare(running, path, arguments)
    finally:
        for server in running:
            server.end()
        postgres.stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--peers", help="directory that FastAPI and uvicorn are installed in")
    asyncio.run(main(parser.parse_args()))
