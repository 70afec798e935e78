"""The hand-over by SMTP, to a real mail server that can be down."""

from __future__ import annotations

import asyncio
import socket

import asyncpg
import pytest

from server.db.pool import Database
from server.keys import POOL
from server.resources import mail
from tests.resources.calls import call
from tests.resources.inbox import FROM, GOOD, TO, Inbox, row, settings, smtp
from tests.served import served
from tests.waiting import until


async def test_a_message_is_handed_over_and_marked(clean: Database) -> None:
    inbox = Inbox()
    async with smtp(inbox) as port, served(clean, **settings(port)) as server:
        assert (await call(server, "POST", "/api/contact", GOOD)).status == 200
        await until(lambda: inbox.messages)

        async def marked() -> bool:
            return (await row(server))["mailed_at"] is not None

        await until(marked)
        assert (await row(server))["mail_attempts"] == 1
    (message,) = inbox.messages
    assert (message["To"], message["From"]) == (TO, FROM)
    assert message["Reply-To"] == "Ada <ada@example.com>"
    assert message["Subject"] == "Contact form: Ada"
    assert GOOD["message"] in message.get_content()


async def test_a_mail_server_that_is_down_and_back(
    clean: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "FIRST_BACKOFF", 0.0)
    monkeypatch.setattr(mail, "PAUSE", 0.01)
    monkeypatch.setattr(mail, "MAX_ATTEMPTS", 10**6)
    inbox = Inbox()
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    async with served(clean, **settings(port)) as server:
        # Down: the visitor is answered all the same.
        assert (await call(server, "POST", "/api/contact", GOOD)).status == 200

        async def tried() -> bool:
            return bool((await row(server))["mail_attempts"] > 1)

        await until(tried)
        assert "SMTPConnect" in (await row(server))["mail_error"]
        async with smtp(inbox, port):
            await until(lambda: inbox.messages)

            async def marked() -> bool:
                return (await row(server))["mailed_at"] is not None

            await until(marked)
        assert (await row(server))["mail_error"] is None
    assert len(inbox.messages) == 1


async def test_it_backs_off_to_an_hour_and_gives_up_with_the_reason(
    clean: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "PAUSE", 0.0)
    inbox = Inbox()
    inbox.refusal = "554 no \x01thanks"
    async with smtp(inbox) as port, served(clean, **settings(port)) as server:
        pool = server.app[POOL]
        await pool.execute(
            "INSERT INTO contacts (name, email, message, mail_attempts)"
            " SELECT 'n', 'a@b.co', repeat('m', 10), n FROM unnest('{0,4,18,19}'::int[]) n"
        )
        server.app[mail.MAILER].wake()
        query = (
            "SELECT extract(epoch FROM mail_at - now())::float8, mail_error FROM contacts"
            " WHERE mail_error IS NOT NULL ORDER BY mail_attempts"
        )

        async def all_failed() -> bool:
            return len(await pool.fetch(query)) == 4

        await until(all_failed)
        waits = [found[0] for found in await pool.fetch(query)]
        for wait, expected in zip(waits, (15, 240, 3600), strict=False):
            assert expected - 30 < wait <= expected
        assert waits[3] == float("inf")
        assert "554" in (await row(server))["mail_error"]
    assert inbox.messages == []


async def test_several_processes_send_each_row_once(clean: Database) -> None:
    inbox = Inbox()
    async with (
        smtp(inbox) as port,
        served(clean, **settings(port)) as one,
        served(clean, **settings(port)) as two,
    ):
        pool = one.app[POOL]
        await pool.execute(
            "INSERT INTO contacts (name, email, message)"
            " SELECT 'n' || n, 'a@b.co', repeat('m', 10) FROM generate_series(1, 60) n"
        )
        for server in (one, two):
            server.app[mail.MAILER].wake()

        async def done() -> bool:
            return not await pool.fetchval("SELECT count(*) FROM contacts WHERE mailed_at IS NULL")

        await until(done)
    subjects = [message["Subject"] for message in inbox.messages]
    assert sorted(subjects) == sorted({f"Contact form: n{n}" for n in range(1, 61)})
    assert len({message["Message-ID"] for message in inbox.messages}) == 60


async def test_a_shutdown_lets_the_message_under_way_be_marked(clean: Database) -> None:
    inbox = Inbox()
    inbox.passing.clear()
    async with smtp(inbox) as port:
        async with served(clean, **settings(port)) as server:
            await call(server, "POST", "/api/contact", GOOD)
            await inbox.arrived.wait()
            # Accepted while the server is going down.
            asyncio.get_running_loop().call_later(0.2, inbox.passing.set)
        connection = await asyncpg.connect(clean.url)
        assert await connection.fetchval("SELECT mailed_at IS NOT NULL FROM contacts")
        await connection.close()
    assert len(inbox.messages) == 1


async def test_it_comes_back_after_the_database_was_away(clean: Database) -> None:
    inbox = Inbox()
    async with smtp(inbox) as port, served(clean, **settings(port)) as server:
        client = await asyncpg.connect(clean.url)
        await client.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await client.close()
        server.app[mail.MAILER].wake()

        async def stored() -> bool:
            return (await call(server, "POST", "/api/contact", GOOD)).status == 200

        await until(stored)
        await until(lambda: inbox.messages)
