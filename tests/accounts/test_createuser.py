"""The command: as a real process on a terminal and a pipe, else without one."""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import sys
from pathlib import Path

import asyncpg
import httpx
import pytest
from click.testing import CliRunner, Result

from server.__main__ import main
from server.auth import sessions
from server.auth.passwords import Passwords
from server.db.pool import Database
from tests.process import REPOSITORY, ServerProcess, environment

PACKAGE = pytest.mark.asyncio(loop_scope="package")

COMMAND = [sys.executable, "-m", "server", "createuser"]
PASSWORD = "correct horse battery"


def settings(database: Database) -> dict[str, str]:
    return environment({"DATABASE_URL": database.url, "TAILRACE_SECRET": "s" * 32})


def command(
    database: Database, *arguments: str, password: str | None = PASSWORD
) -> subprocess.CompletedProcess[str]:
    stdin = [] if password is None else ["--password-stdin"]
    return subprocess.run(
        [*COMMAND, *arguments, *stdin],
        cwd=REPOSITORY,
        env=settings(database),
        input="" if password is None else f"{password}\n",
        capture_output=True,
        text=True,
        check=False,
    )


async def invoke(database: Database, *arguments: str, password: str | None = PASSWORD) -> Result:
    """The same without a process, whose start takes a second."""
    stdin = [] if password is None else ["--password-stdin"]
    # In a thread, as the command has a loop of its own.
    return await asyncio.to_thread(
        CliRunner().invoke,
        main,
        ["createuser", *arguments, *stdin],
        input="" if password is None else f"{password}\n",
        env={"DATABASE_URL": database.url, "TAILRACE_SECRET": "s" * 32},
    )


async def person(database: Database, email: str) -> asyncpg.Record | None:
    connection = await asyncpg.connect(database.url)
    try:
        return await connection.fetchrow("SELECT * FROM users WHERE email = $1", email)
    finally:
        await connection.close()


@PACKAGE
async def test_it_makes_the_first_admin(clean: Database) -> None:
    done = command(clean, "Ada@Example.com", "--admin", "--name", "Ada")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "made the admin ada@example.com\n"
    row = await person(clean, "ada@example.com")
    assert row is not None
    assert (row["name"], row["role"]) == ("Ada", "admin")
    passwords = Passwords()
    assert await passwords.verify(row["password_hash"], PASSWORD)
    passwords.close()


@PACKAGE
async def test_an_existing_account_is_made_admin_with_a_new_password_and_no_session(
    clean: Database,
) -> None:
    made = await invoke(clean, "ada@example.com")
    assert made.stdout == "made the user ada@example.com\n"
    again = await invoke(clean, "ada@example.com")
    assert again.exit_code == 1
    assert "there is an account ada@example.com already" in again.stderr
    before = await person(clean, "ada@example.com")
    assert before is not None
    assert (before["name"], before["role"]) == ("ada", "user")
    connection = await asyncpg.connect(clean.url)
    try:
        await sessions.create(connection, before["id"])
        # Anybody may have signed up with that address: without a new password nothing changes.
        refused = await invoke(clean, "ADA@example.com", "--admin", password=None)
        assert refused.exit_code == 1
        assert "give it with --password-stdin" in refused.stderr
        assert await person(clean, "ada@example.com") == before
        assert await connection.fetchval("SELECT count(*) FROM sessions") == 1
        done = await invoke(clean, "ADA@example.com", "--admin", password="another one")
        assert done.stdout == "ada@example.com is an admin now and has the new password\n"
        changed = await person(clean, "ada@example.com")
        assert changed is not None
        assert (changed["id"], changed["role"]) == (before["id"], "admin")
        passwords = Passwords()
        assert await passwords.verify(changed["password_hash"], "another one")
        assert not await passwords.verify(changed["password_hash"], PASSWORD)
        passwords.close()
        assert await connection.fetchval("SELECT count(*) FROM sessions") == 0
    finally:
        await connection.close()


@PACKAGE
async def test_promoting_on_a_terminal_asks_for_the_new_password(clean: Database) -> None:
    made = await invoke(clean, "ada@example.com", password="the first one")
    assert made.exit_code == 0
    type_twice(clean, "--admin", said=b"is an admin now and has the new password")
    row = await person(clean, "ada@example.com")
    assert row is not None
    assert row["role"] == "admin"
    passwords = Passwords()
    assert await passwords.verify(row["password_hash"], PASSWORD)
    passwords.close()


@PACKAGE
@pytest.mark.parametrize(
    ("arguments", "password", "sentence"),
    [
        (["ada"], PASSWORD, "the email is not an email address"),
        (["ada@example.com"], "short", "the password should have at least 8 characters"),
        (["ada@example.com"], None, "no terminal to ask for a password"),
        (["ada@example.com", "--name", ""], PASSWORD, "the name should have at least 1 character"),
    ],
)
async def test_bad_input_is_one_sentence(
    clean: Database, arguments: list[str], password: str | None, sentence: str
) -> None:
    done = await invoke(clean, *arguments, password=password)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"tailrace: {sentence}")
    assert done.stderr.count("\n") == 1
    assert await person(clean, "ada@example.com") is None


@PACKAGE
async def test_on_a_terminal_the_password_is_asked_for_twice_and_not_shown(
    clean: Database,
) -> None:
    shown = type_twice(clean)
    assert PASSWORD.encode() not in shown
    assert await person(clean, "ada@example.com")


def type_twice(database: Database, *arguments: str, said: bytes = b"made the user") -> bytes:
    """Answer both questions on a terminal; what stood on it in the end."""
    main, terminal = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "ada@example.com", *arguments],
        cwd=REPOSITORY,
        env=settings(database),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    ) as process:
        os.close(terminal)
        shown = b""
        for question in (b"Password: ", b"confirmation: "):
            while not shown.endswith(question):
                shown += os.read(main, 1024)
            os.write(main, f"{PASSWORD}\n".encode())
        while said not in shown:
            shown += os.read(main, 1024)
        assert process.wait() == 0
    os.close(main)
    return shown


def test_without_a_server_or_an_address_it_says_so(place: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "ada@example.com", "--password-stdin"],
        cwd=REPOSITORY,
        env=environment({"TAILRACE_DATA": f"{place}/data"}),
        input=PASSWORD,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("tailrace: no server runs on the data directory")


def test_it_finds_the_running_servers_own_postgres(planted: Path) -> None:
    with ServerProcess(planted) as server:
        url = server.url
        done = subprocess.run(
            [*COMMAND, "ada@example.com", "--admin", "--password-stdin"],
            cwd=REPOSITORY,
            env=environment({"TAILRACE_DATA": str(planted / "data")}),
            input=PASSWORD,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == "made the admin ada@example.com\n", done.stderr
        body = {"email": "ada@example.com", "password": PASSWORD}
        answer = httpx.post(f"{url}/api/auth/sign-in/email", json=body, timeout=15)
        keys = httpx.get(
            f"{url}/api/keys", headers={"Authorization": f"Bearer {answer.json()['token']}"}
        )
        assert keys.json() == {"keys": []}
