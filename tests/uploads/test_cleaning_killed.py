"""A server killed at any moment of many uploads: nothing half is ever seen, and nothing stays.

`KILLED_UPLOADS=200` sends more than the short form does.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from server.db.embedded import EmbeddedPostgres
from server.uploads.spool import DIRECTORY
from server.uploads.stores import open_store
from tests.conftest import CLONE, database_url
from tests.process import REPOSITORY, ServerProcess, environment
from tests.served import BEARER, KEY

UPLOADS = int(os.environ.get("KILLED_UPLOADS", "20"))
ROUND = 20
"""Uploads to one server, until it is killed."""
AT_ONCE = 10
TEXT = random.Random(7).randbytes(500_000).hex().encode()


@pytest.fixture
def settings(postgres: EmbeddedPostgres) -> Iterator[dict[str, str]]:
    """Of servers that share a database; they differ in their lives only."""
    name = f"killed_{uuid.uuid4().hex[:12]}"
    postgres.run("psql", "-qc", CLONE.format(name), postgres.url)
    yield {
        "DATABASE_URL": database_url(postgres, name),
        "TAILRACE_SECRET": "s" * 32,
        "TAILRACE_API_KEY": KEY,
        "TAILRACE_LIMITS": "off",
    }
    postgres.run("psql", "-qc", f"DROP DATABASE {name} WITH (FORCE)", postgres.url)


@contextmanager
def server(place: Path, settings: dict[str, str]) -> Iterator[ServerProcess]:
    with ServerProcess(place, "--no-demo", **settings) as process:
        yield process


@asynccontextmanager
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=AT_ONCE)
    async with httpx.AsyncClient(base_url=url, headers=BEARER, limits=limits, timeout=20) as made:
        yield made


def content(number: int) -> bytes:
    """Each is another file."""
    return TEXT + f"\n{number}\n".encode()


async def send(http: httpx.AsyncClient, number: int) -> dict[str, Any] | None:
    """What the server said of a file; `None` when it could not say anything."""
    file = {"file": (f"{number}.txt", content(number), "text/plain")}
    try:
        answer = await http.post("/api/upload?policy=documents", files=file)
    except httpx.TransportError:
        return None
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def listed(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    link = "/api/uploads?limit=100"
    while link:
        answer = await http.get(link)
        found += answer.json()["uploads"]
        link = answer.links.get("next", {}).get("url", "")
    return found


async def killed(process: ServerProcess, numbers: range, after: int) -> dict[str, int]:
    """Send files, and kill the server soon after it has taken `after` of them (0: soon after the
    first was sent); those it has taken."""
    taken: dict[str, int] = {}
    loop = asyncio.get_running_loop()

    async def one(http: httpx.AsyncClient, number: int) -> None:
        found = await send(http, number)
        if found is not None:
            taken[found["id"]] = number
            if len(taken) == after:
                loop.call_later(random.uniform(0, 0.02), process.process.kill)

    async with client(process.url) as http:
        if not after:
            loop.call_later(random.uniform(0.02, 0.4), process.process.kill)
        await asyncio.gather(*(one(http, number) for number in numbers))
    return taken


async def test_a_killed_server_leaves_nothing_half_and_no_orphan(
    place: Path, settings: dict[str, str]
) -> None:
    taken: dict[str, int] = {}
    for first in range(0, UPLOADS, ROUND):
        numbers = range(first, min(first + ROUND, UPLOADS))
        after = random.choice([0, random.randint(1, ROUND // 2)])
        with server(place, settings) as process:
            taken |= await killed(process, numbers, after)
            assert await asyncio.to_thread(process.ended) == -9
    contents = {sha256(content(number)).hexdigest() for number in range(UPLOADS)}
    with server(place, settings) as process:
        async with client(process.url) as http:
            rows = await listed(http)
            assert set(taken) <= {row["id"] for row in rows}
            for row in rows:
                body = (await http.get(row["url"])).content
                assert (sha256(body).hexdigest(), len(body)) == (row["sha256"], row["size"])
                assert row["sha256"] in contents
                if row["id"] in taken:
                    assert body == content(taken[row["id"]])
    data = place / "data"
    stored = await keys(data)
    # Whole, also where nobody knows of it yet.
    assert {sha256(path.read_bytes()).hexdigest() for path in stored.values()} <= contents
    done = await asyncio.to_thread(clean, data, "--older-than", "0", **settings)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert set(await keys(data)) == {row["id"] for row in rows} == await known(settings)
    assert [path for path in (data / DIRECTORY).iterdir() if not path.name.startswith(".")] == []


def clean(directory: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    given = environment({"TAILRACE_DATA": str(directory)} | settings)
    return subprocess.run(
        [sys.executable, "-m", "server", "uploads", "clean", *words],
        cwd=REPOSITORY,
        env=given,
        capture_output=True,
        text=True,
        check=False,
    )


async def keys(data: Path) -> dict[str, Path]:
    """The files of the store."""
    store = open_store(None, data)
    files = store.keys()
    found = {item.key: store.path(item.key) async for item in files}
    await store.close()
    return {key: path for key, path in found.items() if path is not None}


async def known(settings: dict[str, str]) -> set[str]:
    connection = await asyncpg.connect(settings["DATABASE_URL"])
    try:
        return {row["id"] for row in await connection.fetch("SELECT id FROM uploads")}
    finally:
        await connection.close()
