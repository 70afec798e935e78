"""The life of one server process: Postgres first and last, the application between, signals around.

Everything ends well under five seconds (process managers kill after that), whatever is connected:
each step has its limit, and an alarm stands behind them all.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import shlex
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import uvloop
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from server import __version__, app
from server.db.embedded import EmbeddedPostgres
from server.db.migrate import check, migrate
from server.db.pool import Database
from server.errors import StartError
from server.keys import BANNER, FATAL
from server.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable

# aiohttp waits this long twice: for handlers to end, then for cancelled ones.
HANDLERS = 1.0
CLEANUP = 2.5
POSTGRES = 1.0
ALARM = 4.2
MAX_LINE = 32 * 1024
"""Bytes of a request line: 128 channels of the greatest length fit."""
READ = 16 * 1024
"""Bytes of a body that wait to be read before the socket is left alone: from twice as many on."""
# 128, the default, makes three thousand simultaneous connects take half a minute.
BACKLOG = 4096
ACCEPTS = 16
"""Connections accepted in one turn of the loop."""
WORKERS = 2
"""Webhooks that a process handles at once which does nothing else, unless told otherwise."""
GREETING = r"""SELECT tailrace.publish('public.hello','greeting','{\"n\":1}')"""

DEFAULT_DATA = Settings.model_fields["data"].default

log = logging.getLogger("tailrace")


def _is_ours(record: logging.LogRecord) -> bool:
    """Not what a stranger sent that is no HTTP: it was answered, and must not fill the log."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)


def work(settings: Settings, handlers: int | None) -> int:
    """Run the webhook workers alone, without a door, until a signal; the exit code.

    `handlers`: how many at once; else as the setting says, which may be 0 for the web's sake.

    Raises:
        StartError: it cannot start, or has no database to share with a server.
    """
    if settings.database_url is None:
        msg = "a worker needs DATABASE_URL: the server with a Postgres of its own works by itself"
        raise StartError(msg)
    number = handlers or settings.webhook_workers or WORKERS
    # Each holds a connection, and one is left for everything else.
    changed = {"webhook_workers": number, "pool_size": max(settings.pool_size, number + 1)}
    return serve(settings.model_copy(update=changed), demo=False, door=False)


def serve(settings: Settings, *, demo: bool | None = None, door: bool = True) -> int:
    """Run the server until a signal or a fatal failure; the exit code. `door`: whether it listens.

    Raises:
        StartError: it cannot start.
    """
    # Before there is a loop, SIGTERM ends a start as Ctrl-C does: through `finally`.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.getLogger("aiohttp.server").addFilter(_is_ours)
    postgres = None
    if settings.database_url is None:
        postgres = EmbeddedPostgres(settings.data, say=click.echo)
    try:
        if postgres is not None:
            postgres.start()
            secret = settings.secret or postgres.data.secret()
            settings = settings.model_copy(update={"secret": secret})
        demo = postgres is not None if demo is None else demo
        process = Process(settings, postgres, demo=demo, door=door)
        factory = uvloop.new_event_loop if settings.loop == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(process.run())
    except KeyboardInterrupt:
        return 0
    finally:
        # From here a second signal ends us on the spot, and the kernel ends Postgres.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        if postgres is not None:
            postgres.stop(POSTGRES)
        signal.setitimer(signal.ITIMER_REAL, 0)


class Process:
    """The application on its event loop."""

    def __init__(
        self, settings: Settings, postgres: EmbeddedPostgres | None, *, demo: bool, door: bool
    ) -> None:
        self._settings = settings
        self._door = door
        self._postgres = postgres
        self._main: asyncio.Task[int] | None = None
        self._signalled = False
        url = settings.database_url or (postgres.url if postgres else "")
        self._database = Database(url, settings.database_direct_url, embedded=postgres is not None)
        # Before there is a loop: what is made here is there for good, and settled next.
        self._application = app.build(settings, self._database, demo=demo, door=door)
        _settle()

    async def run(self) -> int:
        """Serve until the first signal (0) or a fatal failure (1)."""
        self._main = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signal, number)
        try:
            return await self._live()
        except asyncio.CancelledError:
            if not self._signalled:
                raise
            return 0

    def _signal(self, number: int) -> None:
        if self._signalled:
            # Asked twice: at once. The kernel ends Postgres with us.
            os._exit(128 + number)
        self._signalled = True
        if self._main is not None:
            self._main.cancel()

    async def _live(self) -> int:
        prepare = migrate if self._settings.migrate == "on" else check
        await prepare(self._database)
        application = self._application
        runner = web.AppRunner(
            application,
            # A write goes on when its client hangs up: the commit and the answer stay one.
            handler_cancellation=False,
            access_log=None,
            shutdown_timeout=HANDLERS,
            keepalive_timeout=75,
            max_line_size=MAX_LINE,
            # What many uploads at once would have in memory before they are written.
            read_bufsize=READ,
            # A compressed body is refused in the error form, not unpacked, and not by the parser.
            auto_decompress=False,
        )
        watch = asyncio.create_task(self._watch(), name="postgres")
        try:
            await runner.setup()
            if self._door:
                await listen(runner, self._settings.host, self._settings.port)
            for line in self._welcome(runner) if self._door else self._at_work():
                click.echo(line)
            return await self._until_fatal(application[FATAL], watch)
        finally:
            signal.setitimer(signal.ITIMER_REAL, ALARM)
            await _clean_up(runner)
            watch.cancel()

    async def _watch(self) -> None:
        """Keep the embedded Postgres up; with one of yours, wait for ever."""
        if self._postgres is not None:
            await self._postgres.watch()
        await asyncio.Event().wait()

    async def _until_fatal(
        self, fatal: asyncio.Future[BaseException], watch: asyncio.Task[None]
    ) -> int:
        await asyncio.wait((fatal, watch), return_when=asyncio.FIRST_COMPLETED)
        if fatal.done():
            error = fatal.exception() or fatal.result()
        else:
            error = watch.exception() or RuntimeError("the watch over Postgres ended")
        log.critical("a part of the server failed for good; ending", exc_info=error)
        return 1

    def _welcome(self, runner: web.AppRunner) -> Iterable[str]:
        """What a newcomer needs: the address, how to listen, how to publish."""
        address = address_of(runner)
        yield f"Tailrace {__version__}  {address}"
        yield f"  listen   curl -N '{address}api/stream?channel=public.hello'"
        yield f"  publish  {self._publish()}"
        for line in runner.app[BANNER]:
            yield line.replace("{base}", address.rstrip("/"))

    def _at_work(self) -> Iterable[str]:
        yield f"Tailrace {__version__}  webhooks, {self._settings.webhook_workers} at once"

    def _publish(self) -> str:
        """A command that publishes; an address of yours may hold a password and is not printed."""
        if shutil.which("psql"):
            url = shlex.quote(self._database.url) if self._postgres else '"$DATABASE_URL"'
            return f'psql {url} -c "{GREETING}"'
        tailrace = Path(sys.executable).with_name("tailrace")
        if tailrace.is_relative_to(Path.cwd()):
            tailrace = tailrace.relative_to(Path.cwd())
        data = ""
        if self._settings.data != DEFAULT_DATA:
            data = f"TAILRACE_DATA={shlex.quote(str(self._settings.data))} "
        return f'{data}{shlex.quote(str(tailrace))} sql "{GREETING}"'


def _settle() -> None:
    """Spare the collector what is there for good, and let it come when there is something to do.

    By default it looks through everything young after 700 new objects: a stream has a dozen, and
    thousands that come at once are not garbage.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
    gc.enable()


async def listen(runner: web.AppRunner, host: str, port: int) -> None:
    """Take connections.

    Raises:
        StartError: the address is taken, forbidden or unknown.
    """
    site = web.TCPSite(runner, host, port, backlog=BACKLOG)
    try:
        await site.start()
        await accept_many(runner, site)
    except socket.gaierror:
        msg = f"HOST {host} is no address of this machine: set HOST to 127.0.0.1 or 0.0.0.0"
        raise StartError(msg) from None
    except OSError as error:
        raise StartError(_unbound(error, host, port)) from None


async def accept_many(runner: web.AppRunner, site: web.TCPSite) -> None:
    """Accept several connections in one turn of the loop.

    uvloop takes one from a listening socket and turn, and a turn lasts milliseconds while events
    go out to thousands: a storm of reconnects would wait for minutes. Each further descriptor of
    the same socket is good for one more. asyncio's own loop takes as many as there are.
    """
    if not isinstance(asyncio.get_running_loop(), uvloop.Loop):
        return
    server = site._server
    for listening in getattr(server, "sockets", ()):
        try:
            for _ in range(ACCEPTS - 1):
                again = socket.socket(fileno=os.dup(listening.fileno()))
                await web.SockSite(runner, again, backlog=BACKLOG).start()
        except OSError as error:  # it listens already, and is only slower in a storm
            log.warning("no further descriptors for accepting: %r", error)


def _unbound(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use: stop what listens there, or set PORT"
    if error.errno == errno.EACCES:
        return f"port {port} needs privileges: set PORT to 1024 or above"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"HOST {host} is no address of this machine: set HOST to 127.0.0.1 or 0.0.0.0"
    return f"cannot listen on {host} port {port}: {error.strerror or error}"


def address_of(runner: web.AppRunner) -> str:
    """The URL to open: the bound port, and this machine when the server listens everywhere."""
    host, port = runner.addresses[0][:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - shown, not bound
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"http://{host}:{port}/"


async def _clean_up(runner: web.AppRunner) -> None:
    try:
        async with asyncio.timeout(CLEANUP):
            await runner.cleanup()
    except TimeoutError:
        log.warning("the application did not end in %s s; going on without it", CLEANUP)
