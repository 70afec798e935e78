"""`tailrace createuser`: an account made by whoever owns the database, so also the first admin."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import asyncpg
import click
from pydantic import BaseModel, Field, ValidationError

from server.accounts.models import MAX_PASSWORD, MIN_PASSWORD, Name
from server.auth import sessions
from server.auth.passwords import Passwords
from server.db.pool import Database, connect
from server.errors import StartError
from server.openapi.fields import Email

if TYPE_CHECKING:
    from server.db.pool import Connection

_FIND = "SELECT id FROM public.users WHERE lower(email) = lower($1)"
_CREATE = """
    INSERT INTO public.users (name, email, role, password_hash) VALUES ($1, $2, $3, $4)"""
_CHANGE = """
    UPDATE public.users SET role = 'admin', password_hash = $2, updated_at = now()
    WHERE id = $1 RETURNING id"""

Ask = Callable[[], str]
_Password = Annotated[str, Field(min_length=MIN_PASSWORD, max_length=MAX_PASSWORD)]


class _Person(BaseModel):
    """The rules of the sign-up form."""

    email: Email
    name: Name


class _Secret(BaseModel):
    password: _Password


def ask(*, stdin: bool) -> Ask | None:
    """Where the password comes from: standard input, a terminal, or nowhere (`None`)."""
    if stdin:
        return lambda: sys.stdin.readline().rstrip("\r\n")
    if sys.stdin.isatty():
        return lambda: str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    return None


def run(url: str, email: str, name: str | None, *, admin: bool, stdin: bool) -> str:
    """Make the account, or an existing one an admin; one sentence that says what was done.

    Raises:
        StartError: bad input, or no database; nothing was changed.
    """
    email = email.lower()
    _check(_Person, email=email, name=name if name is not None else email.partition("@")[0])
    return asyncio.run(_run(url, email, name, admin=admin, stdin=stdin))


async def _run(url: str, email: str, name: str | None, *, admin: bool, stdin: bool) -> str:
    connection = await connect(Database(url, None, embedded=False), suffix=" createuser")
    try:
        user_id = await connection.fetchval(_FIND, email)
        if user_id is None:
            hashed = await _password(ask(stdin=stdin))
            role = "admin" if admin else "user"
            await connection.execute(_CREATE, name or email.partition("@")[0], email, role, hashed)
            return f"made the {role} {email}"
        if not admin:
            msg = f"there is an account {email} already; --admin would make it an admin"
            raise StartError(msg)
        return await _promote(connection, user_id, email, stdin=stdin)
    except asyncpg.UndefinedTableError:
        msg = "the database has no tables of Tailrace yet: run tailrace migrate"
        raise StartError(msg) from None
    except asyncpg.UniqueViolationError:
        msg = f"there is an account {email} already: it was made a moment ago"
        raise StartError(msg) from None
    finally:
        await connection.close()


async def _promote(connection: Connection, user_id: str, email: str, *, stdin: bool) -> str:
    """With a new password and without sessions: anybody may have signed up with this address."""
    hashed = await _password(ask(stdin=stdin))
    async with connection.transaction():
        if await connection.fetchval(_CHANGE, user_id, hashed) is None:
            msg = f"the account {email} was deleted a moment ago"
            raise StartError(msg)
        await sessions.revoke_all(connection, user_id)
    return f"{email} is an admin now and has the new password"


async def _password(source: Ask | None) -> str:
    if source is None:
        msg = "no terminal to ask for a password: give it with --password-stdin"
        raise StartError(msg)
    password = source()
    _check(_Secret, password=password)
    passwords = Passwords()
    try:
        return await passwords.hash(password)
    finally:
        passwords.close()


def _check(model: type[BaseModel], **values: str) -> None:
    try:
        model(**values)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        field = str(fault["loc"][0])
        # Never the value: it may be a password.
        why = "is not an email address" if field == "email" else _lower(fault["msg"])
        msg = f"the {field} {why}"
        raise StartError(msg) from None


def _lower(message: str) -> str:
    return message.removeprefix("String ")
