"""The command line: `tailrace serve`, `worker`, `migrate`, `sql`, `createuser`, `webhooks`, …"""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import parse_qs, unquote, urlsplit

import click

from server import __version__, settings
from server.db.binaries import installed
from server.db.datadir import SOCKET, DataDir
from server.db.embedded import EmbeddedPostgres
from server.db.migrate import migrate as apply_schema
from server.db.pool import Database
from server.errors import StartError

if TYPE_CHECKING:
    from server.settings import Settings

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class Sentence(click.Group):
    """Commands whose StartError is one sentence on stderr and exit code 1, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except StartError as error:
            click.echo(f"tailrace: {error}", err=True)
            ctx.exit(1)


@click.group(cls=Sentence, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tailrace")
def main() -> None:
    """Commit to Postgres, and every subscribed browser has it within milliseconds."""
    logging.basicConfig(format=LOG_FORMAT, level=logging.INFO)


@main.command()
@click.option("--host", help="Address to listen on (HOST).")
@click.option("--port", type=int, help="Port to listen on, 0 for a free one (PORT).")
@click.option(
    "--demo/--no-demo",
    default=None,
    help="A demo user and some rows; on by default with the embedded Postgres.",
)
def serve(host: str | None, port: int | None, demo: bool | None) -> None:
    """Start the server, with a Postgres of its own unless DATABASE_URL is set."""
    loaded = settings.load(host=host, port=port)
    gc.disable()  # nothing of what is imported is garbage; the server begins to collect by itself
    # The server takes a third of a second to import, and the other commands need none of it.
    from server.run import serve as run  # noqa: PLC0415

    sys.exit(run(loaded, demo=demo))


@main.command()
@click.option("--handlers", type=click.IntRange(1, 32), help="Webhooks to handle at once.")
def worker(handlers: int | None) -> None:
    """Handle webhooks beside the servers of a database, which may then have no workers."""
    gc.disable()
    from server.run import work  # noqa: PLC0415

    sys.exit(work(settings.load(), handlers))


@main.command()
def migrate() -> None:
    """Apply schema.sql to the database."""
    loaded = _load()
    if loaded.database_url:
        database = Database(loaded.database_url, loaded.database_direct_url, embedded=False)
        asyncio.run(apply_schema(database, force=True))
        return
    postgres = EmbeddedPostgres(loaded.data, say=click.echo)
    postgres.start()
    try:
        asyncio.run(apply_schema(Database(postgres.url, None, embedded=True), force=True))
    finally:
        postgres.stop()


@main.command()
@click.argument("statements", required=False)
def sql(statements: str | None) -> None:
    """Run SQL on DATABASE_URL or on the running server's Postgres; without any, open psql."""
    _psql(*(("-c", statements) if statements is not None else ()))


@main.command()
@click.argument("email")
@click.option("--name", help="What the account is called; else what stands before the @.")
@click.option("--admin", is_flag=True, help="Make it, or an existing account, an admin.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def createuser(email: str, name: str | None, admin: bool, password_stdin: bool) -> None:
    """Make an account; the password is asked for.

    An account that exists and is made admin gets the new password and is signed out everywhere:
    anybody may have signed up with that address.
    """
    # It brings pydantic models and argon2, which the other commands need not wait for.
    from server.accounts import createuser as command  # noqa: PLC0415

    click.echo(command.run(_database(), email, name, admin=admin, stdin=password_stdin))


class Later(click.Group):
    """The commands of a feature. They import much of the server: only who asks for one waits."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return self._group().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return self._group().get_command(ctx, cmd_name)

    def _group(self) -> click.Group:
        module = importlib.import_module(f"server.{self.name}.command")
        group: click.Group = getattr(module, str(self.name))
        return group


@main.group(cls=Later)
@click.pass_context
def webhooks(ctx: click.Context) -> None:
    """Find, show, repeat and send webhooks."""
    from server.webhooks.operating.console import Place  # noqa: PLC0415

    ctx.obj = Place(_database, _load)


@main.group(cls=Later)
@click.pass_context
def uploads(ctx: click.Context) -> None:
    """Clean up after uploads."""
    from server.uploads.command import Place  # noqa: PLC0415

    ctx.obj = Place(_database, _load)


@main.group()
def epoch() -> None:
    """The epoch of the event log: part of every event id."""


@epoch.command()
def new() -> None:
    """Begin a new epoch: after the whole machine was set back to a snapshot."""
    _psql("-At", "-c", "SELECT tailrace.epoch_new()")


def _load() -> Settings:
    """The settings for a command that signs nothing: it must not ask for the secret."""
    return settings.load(secret=os.environ.get("TAILRACE_SECRET") or "-" * 32)


def _database() -> str:
    """Yours, or the running server's own."""
    loaded = _load()
    url = loaded.database_direct_url or loaded.database_url or _running(loaded.data)
    if url is None:
        msg = (
            f"no server runs on the data directory {loaded.data}: start scripts/serve, or set"
            " DATABASE_URL"
        )
        raise StartError(msg)
    return url


def _psql(*arguments: str) -> NoReturn:
    """Become psql: the one that the wheel brings, else the machine's."""
    url = _database()
    try:
        program = installed().path("psql")
    except StartError:
        found = shutil.which("psql")
        if found is None:
            raise
        program = found
    url, password = _without_password(url)
    # Other users see a process' arguments, not its environment.
    environment = os.environ | ({"PGPASSWORD": password} if password else {})
    plain = ("-X", "-P", "pager=off", "-v", "ON_ERROR_STOP=1")
    os.execve(program, [program, *plain, *arguments, url], environment)  # noqa: S606


def _running(data: Path) -> str | None:
    """The running server's Postgres. One that was killed left its address, but no socket."""
    url = DataDir(data).announced()
    if url is None:
        return None
    place = parse_qs(urlsplit(url).query)["host"][0]
    return url if (Path(place) / SOCKET).exists() else None


def _without_password(url: str) -> tuple[str, str | None]:
    parts = urlsplit(url)
    if not parts.password:
        return url, None
    user, _, place = parts.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}@{place}"
    return parts._replace(netloc=netloc).geturl(), unquote(parts.password)


if __name__ == "__main__":
    main(prog_name="tailrace")
