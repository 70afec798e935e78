"""A real mail server (aiosmtpd) that keeps what it is given, or refuses it."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.message import EmailMessage
from typing import Any

import asyncpg
from aiosmtpd.smtp import SMTP, Envelope, Session

from server.keys import POOL
from tests.served import Served

GOOD = {"name": "Ada", "email": "ada@example.com", "message": "It works, thank you."}
TO, FROM = "ops@example.com", "Site <site@example.com>"


class Inbox:
    """A handler of aiosmtpd that keeps what it is given, or refuses it."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.refusal: str | None = None
        self.tls: list[bool] = []
        self.arrived = asyncio.Event()
        self.passing = asyncio.Event()
        self.passing.set()

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.arrived.set()
        await self.passing.wait()
        if self.refusal is not None:
            return self.refusal
        assert isinstance(envelope.content, bytes)
        self.tls.append(session.ssl is not None)
        self.messages.append(
            email.message_from_bytes(envelope.content, policy=email.policy.default)
        )
        return "250 OK"


@asynccontextmanager
async def smtp(inbox: Inbox, port: int = 0, **options: Any) -> AsyncIterator[int]:
    """A mail server; yields its port."""
    loop = asyncio.get_running_loop()
    implicit = options.pop("ssl", None)
    sessions: list[SMTP] = []

    def session() -> SMTP:
        sessions.append(SMTP(inbox, hostname="mx.test", loop=loop, **options))
        return sessions[-1]

    server = await loop.create_server(session, "127.0.0.1", port, ssl=implicit)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for item in sessions:
            if item.transport is not None:
                item.transport.close()
            if (task := item._handler_coroutine) is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


def settings(port: int, scheme: str = "smtp", user: str = "") -> Mapping[str, Any]:
    return {
        "smtp_url": f"{scheme}://{user}127.0.0.1:{port}",
        "contact_to": TO,
        "contact_from": FROM,
        "limits": "off",
    }


async def row(server: Served) -> asyncpg.Record:
    found = await server.app[POOL].fetchrow("SELECT * FROM contacts ORDER BY id LIMIT 1")
    assert found is not None
    return found
