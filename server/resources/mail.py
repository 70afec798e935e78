"""The hand-over of contact messages by SMTP: a worker over the rows themselves.

A row is sent while it is locked, so several processes never send one twice. A message whose
sending succeeded but whose row could not be marked (a crash in between) is sent again, with the
same Message-ID.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import aiosmtplib
import asyncpg
from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from server.db.faults import LOST
from server.openapi.fields import Email

if TYPE_CHECKING:
    from server.db.pool import Pool
    from server.settings import Settings

log = logging.getLogger(__name__)

_EMAIL: TypeAdapter[str] = TypeAdapter(Email)

LOOK_EVERY = 30.0
"""Seconds after which it looks for rows that nobody told of: other clients', and retries."""
SEND_TIMEOUT = 30.0
"""Seconds for one message; its row is locked as long."""
PAUSE = 1.0
"""Seconds after a failure before the next message: the server is likely to refuse that as well."""
GRACE = 1.5
"""Seconds that a message under way has at a shutdown."""
MAX_ATTEMPTS = 20
FIRST_BACKOFF = 15.0
"""Seconds until the second attempt; then doubled each time, to an hour."""
MAX_ERROR = 500

# A setting of the operator's must not end this transaction while the mail server thinks.
_BEGIN = "SET LOCAL idle_in_transaction_session_timeout = '60s'"
_TAKE = """
    SELECT id, name, email, message, created_at FROM public.contacts
    WHERE mailed_at IS NULL AND mail_at <= now()
    ORDER BY mail_at LIMIT 1 FOR UPDATE SKIP LOCKED"""
_DONE = """
    UPDATE public.contacts SET mailed_at = clock_timestamp(), mail_error = NULL,
      mail_attempts = mail_attempts + 1
    WHERE id = $1"""
# Never due again after the last attempt; to try it anew: SET mail_at = now(), mail_attempts = 0.
_FAILED = """
    UPDATE public.contacts SET mail_attempts = mail_attempts + 1, mail_error = $2,
      mail_at = CASE WHEN mail_attempts + 1 >= $3 THEN 'infinity'
        ELSE clock_timestamp()
          + least(interval '1 hour', $4::float8 * 2 ^ mail_attempts * interval '1 second') END
    WHERE id = $1 RETURNING mail_attempts"""


class Mailer:
    """Hands contact messages over, one at a time."""

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self._pool = pool
        self._server = server_of(settings.smtp_url or "")
        self._from = settings.contact_from or ""
        self._to = settings.contact_to or ""
        self._news = asyncio.Event()

    def wake(self) -> None:
        """There is a new row."""
        self._news.set()

    async def run(self) -> None:
        """Send what is due, for ever."""
        while True:
            self._news.clear()
            try:
                await self._all()
            except LOST as error:
                log.warning("contact messages wait for the database: %r", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self._news.wait()

    async def _all(self) -> None:
        while True:
            pause = await self._finished(asyncio.create_task(self._one()))
            if pause is None:
                return
            await asyncio.sleep(pause)

    async def _finished(self, task: asyncio.Task[float | None]) -> float | None:
        """Cancelled, let the message under way be finished and marked: it would be sent again."""
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task}, timeout=GRACE)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise

    async def _one(self) -> float | None:
        """Send the row that is due first; returns the pause before the next, `None` at the end."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_BEGIN)
            row = await connection.fetchrow(_TAKE)
            if row is None:
                return None
            try:
                await self._send(row)
            except Exception as error:  # whatever one message provokes must not stop the others
                reason = readable(error)
                attempts = await connection.fetchval(
                    _FAILED, row["id"], reason, MAX_ATTEMPTS, FIRST_BACKOFF
                )
            else:
                await connection.execute(_DONE, row["id"])
                return 0
        log.warning("contact %s not mailed, attempt %s: %s", row["id"], attempts, reason)
        return PAUSE

    async def _send(self, row: asyncpg.Record) -> None:
        client = aiosmtplib.SMTP(**self._server)
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                await client.connect()
                await client.send_message(compose(row, self._from, self._to))
            # It is accepted: what goes wrong from here on must not count as a failure.
            with suppress(Exception):
                await client.quit(timeout=1)
        finally:
            client.close()


def server_of(url: str) -> dict[str, Any]:
    """The mail server of an `SMTP_URL`, as aiosmtplib's arguments.

    `smtps` is TLS from the start. `smtp` is STARTTLS when it is offered, and always when there is
    a password: whoever stands in between could take the offer away.
    """
    parts = urlsplit(url)
    implicit = parts.scheme == "smtps"
    return {
        "hostname": parts.hostname,
        "port": parts.port or (465 if implicit else 587 if parts.username else 25),
        "username": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "use_tls": implicit,
        "start_tls": False if implicit else (True if parts.username else None),
        "timeout": 10,
    }


def compose(row: Any, sender: str, recipients: str) -> EmailMessage:
    """The message for a row of `contacts`. No field of it can become a header of its own."""
    # Headers end where Python's splitlines() says so, at U+2028 for one. And Pythons without the
    # fix for CVE-2024-6923 take an encoded word apart, and write the line end in it as it is.
    name = " ".join(row["name"].replace("=?", "= ?").split())
    message = EmailMessage()
    message["From"] = sender
    message["To"] = recipients
    with suppress(ValidationError):  # a row of some SQL client: it may be no address
        address = _EMAIL.validate_python(row["email"])
        message["Reply-To"] = Address(display_name=name, addr_spec=address)
    message["Subject"] = f"Contact form: {name}"
    message["Date"] = format_datetime(row["created_at"])
    domain = message["From"].addresses[0].domain
    message["Message-ID"] = f"<contact-{row['id']}.{row['created_at'].timestamp():.6f}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(f"{row['name']} <{row['email']}> wrote:\n\n{row['message']}\n")
    return message


def readable(error: Exception) -> str:
    """An error as text that Postgres stores: a mail server may say anything."""
    text = f"{type(error).__name__}: {error}".replace("\x00", "")
    return text.encode(errors="replace").decode()[:MAX_ERROR]


MAILER = web.AppKey("mailer", Mailer)
"""There only with `SMTP_URL`."""
