"""Postgres' own directory: made whole or not at all, and free of an older server at a start."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from server.db.account import complete
from server.db.datadir import remove_leftovers
from server.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server.db.binaries import Binaries
    from server.db.datadir import Home

DATABASE = "tailrace"
USER = "postgres"
# Written into postgresql.conf at the first start, where the owner may change them.
DEFAULTS = {
    "max_connections": "200",
    "shared_buffers": "128MB",
    # An abandoned transaction keeps dead rows of the outbox alive and the stamp slow.
    "idle_in_transaction_session_timeout": "10min",
    # The outbox lives by its vacuum; a look every minute is too rare for it.
    "autovacuum_naptime": "10s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%a ",
    "log_checkpoints": "off",
}
OLD_POSTGRES = 10.0
POLL = 0.02


@dataclass(frozen=True, slots=True)
class Cluster:
    """The directory `home.pg` with the programs that work on it."""

    home: Home
    binaries: Binaries
    log: Path

    def prepare(self, output: int) -> None:
        """Make it at the first start.

        Raises:
            StartError: it belongs to another major version, or initdb failed.
        """
        remove_leftovers(self.home.pg)
        version = self.home.pg / "PG_VERSION"
        try:
            found = version.read_text().strip()
        except FileNotFoundError:
            self._make(output)
            return
        except OSError as error:
            msg = f"cannot read {version} ({error.strerror}): start as the user who owns it"
            raise StartError(msg) from None
        if found != self.binaries.major:
            msg = (
                f"the data in {self.home.pg} was written by Postgres {found} and this is"
                f" {self.binaries.major}: dump it with Postgres {found} (pg_dump), set"
                " TAILRACE_DATA to a new directory, start, and restore the dump there"
            )
            raise StartError(msg)

    def vacate(self) -> Iterator[float]:
        """Wait for an older Postgres that is still ending; yields how long to sleep.

        After a kill -9 of the server its Postgres has been told to end, and writes a checkpoint
        first. Raises StartError after ten seconds.
        """
        deadline = time.monotonic() + OLD_POSTGRES
        while (pid := self.postmaster()) and self._alive(pid):
            if time.monotonic() > deadline:
                msg = f"another Postgres (process {pid}) runs on {self.home.pg}: end it first"
                raise StartError(msg)
            yield POLL
        if pid:
            self._disown()

    def postmaster(self) -> int | None:
        """The process id in postmaster.pid."""
        lines = self._status()
        return int(lines[0]) if lines and lines[0].strip().lstrip("-").isdigit() else None

    def ready(self, pid: int) -> bool:
        """Whether the Postgres `pid` takes connections, by the status that it writes itself."""
        lines = self._status()
        return len(lines) > 7 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"

    def last_words(self) -> str:
        """What Postgres wrote last, on one line, for the sentence that says why it ended."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()[-4:]
        except OSError:
            return ""
        return " / ".join(dict.fromkeys(line.strip() for line in lines if line.strip()))

    def _status(self) -> list[str]:
        try:
            return (self.home.pg / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _alive(self, pid: int) -> bool:
        """Whether `pid` is a Postgres on this directory, not a later process of that number."""
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return False
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            # Gone in between, or no /proc here: then its number has to do.
            return sys.platform != "linux"
        return os.fsencode(self.home.pg) in command

    def _disown(self) -> None:
        """Make a stale postmaster.pid name us, the parent: the one live process Postgres ignores.

        Numbers repeat soonest in containers, where Postgres would take any process of its user
        for the old postmaster. The rest of the file stays, and with it Postgres' own check that
        no backend of the old one is left.
        """
        with suppress(OSError), (self.home.pg / "postmaster.pid").open("r+") as file:
            lines = file.read().splitlines()
            file.seek(0)
            file.write("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
            file.truncate()

    def _make(self, output: int) -> None:
        """Initdb into a directory of another name; the rename is what makes it real."""
        pg = self.home.pg
        if pg.exists() and any(pg.iterdir()):
            msg = f"{pg} is not empty and holds no Postgres data: remove it, or set TAILRACE_DATA"
            raise StartError(msg)
        self._require_name()
        work = Path(tempfile.mkdtemp(prefix=f"{pg.name}.new-", dir=pg.parent))
        self.home.account.own(work, 0o700)
        self._run(
            output,
            None,
            "initdb",
            f"--pgdata={work}",
            f"--username={USER}",
            "--auth=trust",
            "--no-instructions",
            "--encoding=UTF8",
            # The same order and the same upper case on every machine, and no index to rebuild
            # when its C library changes.
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            *(f"--set={name}={value}" for name, value in DEFAULTS.items()),
        )
        create = f"CREATE DATABASE {DATABASE};\n".encode()
        self._run(output, create, "postgres", "--single", "-D", str(work), "postgres")
        work.rename(pg)

    def _require_name(self) -> None:
        """Initdb wants to know its user's name; containers with a free choice of id have none."""
        user = self.home.account.effective
        try:
            pwd.getpwuid(user)
        except KeyError:
            msg = (
                f"user {user} has no name on this machine, and Postgres needs one: add it to"
                " /etc/passwd, start as another user, or set DATABASE_URL"
            )
            raise StartError(msg) from None

    def _run(self, output: int, stdin: bytes | None, program: str, *arguments: str) -> None:
        process = self.home.account.spawn(
            [self.binaries.path(program), *arguments],
            end=signal.SIGTERM,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            output=output,
        )
        complete(process, stdin)
        if process.returncode:
            msg = f"{program} failed, see {self.log}: {self.last_words()}"
            raise StartError(msg)
