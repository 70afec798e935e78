"""The processes of a world: servers, and workers in them or beside them, each with a Postgres role
of its own, so that a backend tells whose it is.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import asyncpg

from server.db.embedded import EmbeddedPostgres
from tests.oracle.servers import Server
from tests.waiting import until
from tests.webhooks.oracle.senders import SECRETS
from tests.webhooks.oracle.witness import WITNESS

if TYPE_CHECKING:
    from server.db.pool import Connection

Arrangement = Literal["within", "beside"]
"""Whether the workers run in the servers, or in two processes of their own."""
ROLE = "oracle_"
_AT_WORK = re.compile(r"^Tailrace \S+  webhooks, \d+ at once$", re.MULTILINE)
_ROLES = """
    DO $$ BEGIN
      CREATE ROLE {name} LOGIN SUPERUSER;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"""


class Process(Server):
    """One `python -m server serve`. `handlers`: webhooks that it handles at once."""

    PLANTED = "tests.webhooks.oracle.planted"

    def __init__(
        self, name: str, place: Path, url: str, *, loop: str, handlers: int, bug: str | None
    ) -> None:
        settings = {
            "TAILRACE_WEBHOOK_WORKERS": str(handlers),
            "TAILRACE_POOL_SIZE": "6",
            "TAILRACE_ACCESS_LOG": "off",
            "TAILRACE_LIMITS": "off",
            "TAILRACE_LOOP": loop,
        }
        super().__init__(name, place, as_role(url, self.role_of(name)), settings | SECRETS, bug)
        self.role = self.role_of(name)
        self.handlers = handlers

    @staticmethod
    def role_of(name: str) -> str:
        return ROLE + name


class Beside(Process):
    """One `python -m server worker`."""

    def _arguments(self) -> list[str]:
        return ["worker"]

    def _addresses(self) -> list[str]:
        return _AT_WORK.findall(self._log.read_text())

    async def ready(self) -> None:
        """Wait until it says that it works."""
        await until(lambda: len(self._addresses()) == self.starts or self._ended())
        assert not self._ended(), self._log.read_text()


class World:
    """What the senders and the kills work on."""

    def __init__(self, url: str, servers: Sequence[Process], beside: Sequence[Process]) -> None:
        self.url = url
        self.postgres: EmbeddedPostgres | None = None
        """Where it may be crashed: nobody else is on it."""
        self.servers = servers
        self.processes = [*servers, *beside]

    async def connect(self) -> Connection:
        """A connection of the harness, as the owner of everything."""
        return await asyncpg.connect(
            self.url, timeout=5, command_timeout=30, server_settings={"application_name": "oracle"}
        )


@asynccontextmanager
async def world(
    url: str, place: Path, users: Sequence[str], how: Arrangement, bug: str | None = None
) -> AsyncIterator[World]:
    """Two servers and two workers on a migrated database, with these users and a witness."""
    names = {"within": "ab", "beside": "abvw"}[how]
    within = 2 if how == "within" else 0
    loops = cycle(("uvloop", "asyncio"))
    servers = [
        Process(name, place, url, loop=next(loops), handlers=within, bug=bug) for name in names[:2]
    ]
    beside = [Beside(name, place, url, loop=next(loops), handlers=2, bug=bug) for name in names[2:]]
    it = World(url, servers, beside)
    connection = await it.connect()
    for process in it.processes:
        await connection.execute(_ROLES.format(name=process.role))
    await connection.execute(
        "INSERT INTO public.users (id, name, email)"
        " SELECT name, name, name || '@x' FROM unnest($1::text[]) AS name",
        users,
    )
    await connection.execute(WITNESS)
    await connection.close()
    try:
        for process in it.processes:
            process.spawn()
        for process in it.processes:
            await process.ready()
        yield it
    finally:
        for process in it.processes:
            process.close()


def as_role(url: str, role: str) -> str:
    """The same database for another role."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}").geturl()
