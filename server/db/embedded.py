"""The embedded Postgres: a direct child that starts with the server, is kept up, and ends with it.

Nothing may outlive us: the kernel ends Postgres when the server is killed (launch.py), and the
next start waits for it (cluster.py). There is no TCP port, only a socket in a private directory.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

from server.db.account import DEATH_SIGNAL, complete
from server.db.binaries import reachable
from server.db.cluster import DATABASE, USER, Cluster
from server.db.datadir import DataDir
from server.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

POLL = 0.01
LIVENESS = 0.2
# A Postgres that ran this long had started well: the next restart is quick again.
SETTLED = 30.0
BACK_OFF = (0.1, 5.0)
# Crash recovery replays up to max_wal_size; it says nothing meanwhile, but it lives.
START = 300.0
# What Postgres says while the backends of a killed predecessor are still ending.
LEFT = "pre-existing shared memory block"
PATIENCE = 10.0

log = logging.getLogger("tailrace.postgres")


def _silent(_message: str) -> None:
    pass


class EmbeddedPostgres:
    """Our Postgres in the data directory `data`.

    `options` are settings for the command line (they win over postgresql.conf), `env` goes to the
    programs; `say` is told, in sentences, what a user should know.
    """

    def __init__(
        self,
        data: Path,
        *,
        options: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        say: Callable[[str], None] = _silent,
        death_signal: bool = DEATH_SIGNAL,
    ) -> None:
        self.data = DataDir(data)
        self._options = dict(options or {})
        self._env = dict(env or {})
        self._say = say
        self._death_signal = death_signal
        self._cluster: Cluster | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: int | None = None
        self._stopping = False

    @property
    def cluster(self) -> Cluster:
        """The files and programs; known from the first start on."""
        if self._cluster is None:
            msg = "the embedded Postgres was not started"
            raise RuntimeError(msg)
        return self._cluster

    @property
    def url(self) -> str:
        """For asyncpg and libpq alike; the port is named because PGPORT would move the socket."""
        host = quote(str(self.cluster.home.run), safe="/")
        return f"postgresql://{USER}@/{DATABASE}?host={host}&port=5432"

    @property
    def pid(self) -> int | None:
        """The postmaster, while it lives."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def start(self) -> None:
        """Start, at first with initdb, and return when it takes connections; from the main thread.

        Raises:
            StartError: it cannot; the message quotes Postgres.
        """
        if self.pid is not None:
            return
        self._stopping = False
        fresh = not self.data.locked
        if fresh:
            self.data.open()
        try:
            if fresh or self._cluster is None:
                self._settle()
            for pause in self._boot():
                time.sleep(pause)
        except BaseException:
            self.stop(immediate=True)
            raise
        self.data.announce(self.url)

    async def watch(self) -> None:
        """Restart a Postgres that died, with back-off; a task for the server's whole life.

        Raises:
            StartError: its files are gone; an empty new database would hide that.
        """
        delay, since = BACK_OFF[0], time.monotonic()
        while not self._stopping:
            if self._process is None or self._process.poll() is None:
                await asyncio.sleep(LIVENESS)
                continue
            code, words = self._process.returncode, self.cluster.last_words()
            log.error("postgres ended (%s): %s", code, words)
            if time.monotonic() - since > SETTLED:
                delay = BACK_OFF[0]
            await asyncio.sleep(delay)
            delay, since = min(delay * 2, BACK_OFF[1]), time.monotonic()
            if not (self.cluster.home.pg / "PG_VERSION").exists():
                msg = f"the data directory {self.cluster.home.pg} is gone"
                raise StartError(msg)
            await self._restart()

    def stop(self, timeout: float = 2.0, *, immediate: bool = False) -> None:
        """End it: fast, then without a checkpoint, then by force; the next start recovers."""
        self._stopping = True
        number = signal.SIGQUIT if immediate else signal.SIGINT
        for step in (number, signal.SIGQUIT, signal.SIGKILL):
            if self._ended(step, timeout):
                break
            timeout = 1.0
        if self.data.locked:
            self.data.announce(None)
            self.data.close()

    def kill(self) -> None:
        """SIGKILL, as the machine would: `start` or `watch` brings it back."""
        self._ended(signal.SIGKILL, 5.0)

    def _ended(self, number: int, timeout: float) -> bool:
        process = self._process
        if process is None:
            return True
        with suppress(ProcessLookupError):
            process.send_signal(number)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        self._release_watchdog()
        return True

    def run(self, program: str, *arguments: str) -> str:
        """Run one of Postgres' programs as its account (pg_basebackup, pg_dump); its output.

        Raises:
            subprocess.CalledProcessError: it failed; `output` says why.
        """
        argv = [self.cluster.binaries.path(program), *arguments]
        process = self.cluster.home.account.spawn(
            argv, end=signal.SIGTERM, output=subprocess.PIPE, env=self._env
        )
        output = complete(process).decode(errors="replace")
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, argv, output)
        return output

    async def _restart(self) -> None:
        try:
            for pause in self._boot():
                await asyncio.sleep(pause)
        except StartError as error:
            log.error("postgres does not start again: %s", error)
        else:
            log.warning("postgres started again")

    def _settle(self) -> None:
        """Find out who runs Postgres, with which programs and where; make the files at first."""
        with self.data.usable(), self.data.open_log() as output:
            home = self.data.home(self._say)
            self._cluster = Cluster(home, reachable(home.account, self._say), self.data.log)
            self._cluster.prepare(output.fileno())
            self.data.remember(home)

    def _boot(self) -> Iterator[float]:
        """The steps of a start; yields how long to sleep, for `time` and for `asyncio`."""
        deadline = time.monotonic() + START
        patience = time.monotonic() + PATIENCE
        while True:
            yield from self.cluster.vacate()
            process = self._spawn()
            while process.poll() is None:
                if self.cluster.ready(process.pid):
                    return
                if time.monotonic() > deadline:
                    msg = f"Postgres is not ready after {START:.0f} s, see {self.data.log}"
                    raise StartError(msg)
                yield POLL
            words = self.cluster.last_words()
            if LEFT not in words or time.monotonic() > patience:
                msg = f"Postgres did not start, see {self.data.log}: {words}"
                raise StartError(msg)
            yield LIVENESS

    def _spawn(self) -> subprocess.Popen[bytes]:
        if threading.current_thread() is not threading.main_thread():
            msg = "Postgres must be started from the main thread: it dies with the thread"
            raise RuntimeError(msg)
        self._release_watchdog()
        pipe = None
        if not self._death_signal:
            pipe, self._pipe = os.pipe()
        cluster = self.cluster
        with self.data.open_log() as output:
            self._process = cluster.home.account.spawn(
                [cluster.binaries.path("postgres"), "-D", str(cluster.home.pg), *self._settings()],
                end=signal.SIGINT,
                pipe=pipe,
                env=self._env,
                output=output.fileno(),
            )
        if pipe is not None:
            os.close(pipe)
        return self._process

    def _settings(self) -> Iterator[str]:
        """What must hold whatever postgresql.conf says, and the caller's options."""
        directory = str(self.cluster.home.run).replace('"', '""')
        fixed = {
            "listen_addresses": "",
            "port": "5432",
            "unix_socket_directories": f'"{directory}"',
        }
        for name, value in (fixed | self._options).items():
            yield from ("-c", f"{name}={value}")

    def _release_watchdog(self) -> None:
        """Tell the watchdog that Postgres ended first: its process id may be reused."""
        if self._pipe is not None:
            with suppress(OSError):
                os.write(self._pipe, b".")
            os.close(self._pipe)
            self._pipe = None
