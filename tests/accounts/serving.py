"""The application with cheap passwords, and a browser-like client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from aiohttp import web
from argon2 import PasswordHasher

from server import app as composition
from server.auth.passwords import PASSWORDS, Passwords
from server.db.pool import Database
from server.keys import POOL
from server.settings import load
from tests.served import KEY, Served

HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PASSWORD = "correct horse battery"
ADA = {"name": "Ada", "email": "ada@example.com", "password": PASSWORD}
RATE = "1000/1s"
COOKIE = "tailrace.session_token"


class Accounts(Served):
    """An application that runs, and what its tests do with accounts."""

    def __init__(self, app: web.Application, runner: web.AppRunner, passwords: Passwords) -> None:
        super().__init__(app, runner)
        self.passwords = passwords
        self.clients: list[httpx.AsyncClient] = []

    def client(self, token: str | None = None, **headers: str) -> httpx.AsyncClient:
        """A client with cookies of its own, or with a bearer token."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            given["Authorization"] = f"Bearer {token}"
        # It verifies no TLS, as there is none: loading the certificates for it takes 50 ms.
        client = httpx.AsyncClient(base_url=self.url, headers=given, timeout=15, verify=False)
        self.clients.append(client)
        return client

    async def ada(self, **changes: Any) -> httpx.AsyncClient:
        """A client that has signed up."""
        client = self.client()
        answer = await client.post("/api/auth/sign-up/email", json=ADA | changes)
        assert answer.status_code == 200, answer.text
        return client

    async def signed_in(self, **changes: Any) -> httpx.AsyncClient:
        """A client that has signed in."""
        client = self.client()
        answer = await sign_in(client, **changes)
        assert answer.status_code == 200, answer.text
        return client

    async def admin(self) -> httpx.AsyncClient:
        """A client with an admin's bearer token."""
        _, token = await self.sign_in("admin")
        return self.client(token)

    async def key(self, *scopes: str, **more: Any) -> tuple[str, str]:
        """A new API key's id, and the key."""
        client = await self.admin()
        channels = ["public.>"] if "publish" in scopes else []
        body = {"name": "server", "scopes": scopes, "channels": channels} | more
        answer = await client.post("/api/keys", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"], answer.json()["key"]

    async def leave(self) -> None:
        """Close what was opened on it."""
        for client in self.clients:
            await client.aclose()
        for stream in self.streams:
            stream.abort()
        self.clients.clear()
        self.streams.clear()

    async def sql(self, statement: str, *arguments: object) -> Any:
        return await self.app[POOL].fetchval(statement, *arguments)


async def sign_in(client: httpx.AsyncClient, **changes: Any) -> httpx.Response:
    body = {"email": ADA["email"], "password": PASSWORD} | changes
    return await client.post("/api/auth/sign-in/email", json=body)


@asynccontextmanager
async def accounts(
    database: Database, *, passwords: Passwords | None = None, **settings: Any
) -> AsyncIterator[Accounts]:
    """As `served()`, with hashes that take a millisecond, and rates that are in nobody's way."""
    given = {
        "api_key": KEY, "pool_size": 4, "partition_size": 100_000, "secret": "s" * 32,
        "access_log": "off", "rate_forms": RATE, "rate_auth": RATE, "rate_writes": RATE,
    } | settings  # fmt: skip
    app = composition.build(load(**given), database, demo=False)
    app[PASSWORDS].close()
    passwords = app[PASSWORDS] = passwords or Passwords(HASHER)
    runner = web.AppRunner(app, handler_cancellation=False, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    running = Accounts(app, runner, passwords)
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield running
    finally:
        await running.leave()
        await runner.cleanup()
