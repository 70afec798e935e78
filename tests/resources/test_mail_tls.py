"""The hand-over by SMTP: TLS from the start or by STARTTLS, and no password without it."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword

from server.db.pool import Database
from tests.resources.calls import call
from tests.resources.inbox import GOOD, Inbox, row, settings, smtp
from tests.served import served
from tests.tls import certificate as made
from tests.waiting import until


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's TLS context whose certificate this process trusts."""
    context, cert = made(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    return context


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_a_password_travels_in_tls(
    clean: Database, certificate: ssl.SSLContext, scheme: str
) -> None:
    inbox = Inbox()
    tls: dict[str, Any] = (
        {"ssl": certificate} if scheme == "smtps" else {"tls_context": certificate}
    )
    shown: list[Any] = []

    def authenticate(*call: Any) -> AuthResult:
        shown.append(call[-1])
        return AuthResult(success=True)

    async with (
        smtp(inbox, authenticator=authenticate, auth_require_tls=False, **tls) as port,
        served(clean, **settings(port, scheme, "me:p%40ss%3A%2F@")) as server,
    ):
        await call(server, "POST", "/api/contact", GOOD)
        await until(lambda: inbox.messages)
    assert shown == [LoginPassword(b"me", b"p@ss:/")]


async def test_starttls_is_used_when_it_is_offered(
    clean: Database, certificate: ssl.SSLContext
) -> None:
    inbox = Inbox()
    async with (
        smtp(inbox, tls_context=certificate) as port,
        served(clean, **settings(port)) as server,
    ):
        await call(server, "POST", "/api/contact", GOOD)
        await until(lambda: inbox.messages)
    assert inbox.tls == [True]


async def test_a_password_is_never_sent_in_the_clear(clean: Database) -> None:
    inbox, seen = Inbox(), []

    def never(*given: Any) -> AuthResult:
        seen.append(given)
        return AuthResult(success=True)

    options: dict[str, Any] = {"authenticator": never, "auth_require_tls": False}
    async with (
        smtp(inbox, **options) as port,
        served(clean, **settings(port, user="me:secret@")) as server,
    ):
        await call(server, "POST", "/api/contact", GOOD)

        async def failed() -> bool:
            return (await row(server))["mail_error"] is not None

        await until(failed)
        assert "secret" not in (await row(server))["mail_error"]
    assert (seen, inbox.messages) == ([], [])
