"""The data directory (`TAILRACE_DATA`): its owner, its lock, its secret, and Postgres' place in it.

- `lock`: flocked, one server at a time
- `secret`: signs cookies and tokens when TAILRACE_SECRET is not set
- `url`: the running server's Postgres, for `tailrace sql`
- `postgres.log`
- `pg`, `run`: Postgres' own files and its socket; as root in /var/tmp/tailrace-… when the account
  of Postgres cannot enter the directory
- `place`: where they are then
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from server.db.account import Account, choose
from server.db.binaries import SHARED, claimed
from server.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


SOCKET = ".s.PGSQL.5432"
# sun_path holds 108 bytes on Linux and 104 elsewhere, the closing NUL included.
SOCKET_PATH = 107 if sys.platform == "linux" else 103
# A log of this size is set aside at the next start.
LOG_BYTES = 16 * 1024 * 1024
# Seconds for the last processes of an interrupted first start to end.
LEFTOVERS = 5.0
OURS = {"lock", "pg", "place", "secret", "spool", "uploads"}
LOST = "lost+found"


@dataclass(frozen=True, slots=True)
class Home:
    """Who runs Postgres, and where it keeps its files (`pg`) and its socket (`run`)."""

    account: Account
    pg: Path
    run: Path


class DataDir:
    """One server's files; `open` takes the lock, `close` gives it up."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.log = self.path / "postgres.log"
        self._url = self.path / "url"
        self._place = self.path / "place"
        self._locks: list[int] = []

    def open(self) -> None:
        """Make the directory or take an empty one over, and lock it.

        Raises:
            StartError: it holds something else, cannot be written, or another server runs in it.
        """
        with self.usable():
            self.path.mkdir(parents=True, exist_ok=True)
            found = {entry.name for entry in self.path.iterdir()} - {LOST}
            if found and not found & OURS:
                msg = (
                    f"{self.path} holds files that are not Tailrace's: set TAILRACE_DATA to an"
                    " empty directory or to a new one"
                )
                raise StartError(msg)
            if not found:
                self._take_over()
            self._lock(self.path / "lock", os.O_RDWR | os.O_CREAT)

    @contextmanager
    def usable(self) -> Iterator[None]:
        """Turn what the file system refuses into the sentence that stops the start."""
        try:
            yield
        except OSError as error:
            known = error.filename in {None, str(self.path)}
            place = "" if known else f" at {error.filename}"
            msg = (
                f"cannot use the data directory {self.path} ({error.strerror}{place}): set"
                " TAILRACE_DATA to a directory that this user may write to"
            )
            raise StartError(msg) from None

    @property
    def locked(self) -> bool:
        """Whether this process has the directory."""
        return bool(self._locks)

    def close(self) -> None:
        """Let the next server in."""
        while self._locks:
            os.close(self._locks.pop())

    def home(self, say: Callable[[str], None]) -> Home:
        """Where Postgres can live: here, or as root in /var/tmp when its user cannot get here."""
        account = choose(self.path / "pg")
        base = self.path
        if account.uid is not None:
            moved = self._moved()
            if moved or account.unreachable([("x", base)]):
                base = self._elsewhere(moved or SHARED / f"tailrace-{secrets.token_hex(5)}")
                account = choose(base / "pg")
                say(
                    f"Postgres keeps its data in {base}, because its user cannot enter"
                    f" {self.path}; set TAILRACE_DATA to a directory that it can reach to keep"
                    " the data there."
                )
        return Home(account, base / "pg", self._run(base, account))

    def remember(self, home: Home) -> None:
        """Keep in mind where the data went, once there is some: it stays there from then on."""
        if home.pg.parent != self.path:
            write(self._place, str(home.pg.parent))

    def secret(self) -> str:
        """The secret of this directory, made at the first use and kept."""
        file = self.path / "secret"
        with self.usable():
            if not file.exists():
                write(file, secrets.token_urlsafe(32))
            return file.read_text().strip()

    def announce(self, url: str | None) -> None:
        """Say where the running Postgres is, or that there is none."""
        if url is None:
            self._url.unlink(missing_ok=True)
        else:
            write(self._url, url)

    def announced(self) -> str | None:
        """The running server's Postgres, as its last start said."""
        try:
            return self._url.read_text().strip()
        except FileNotFoundError:
            return None

    def open_log(self) -> BinaryIO:
        """The log, for Postgres to inherit; one that grew large is set aside first."""
        with self.usable():
            if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
                self.log.replace(self.log.with_suffix(".log.1"))
            # It quotes statements, so it is as private as the data.
            return os.fdopen(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")

    def _take_over(self) -> None:
        if os.geteuid() == 0:
            os.chown(self.path, 0, 0)
        # Others pass through to `pg`, if they own it, and see nothing.
        self.path.chmod(0o711 if os.geteuid() == 0 else 0o700)

    def _lock(self, path: Path, flags: int) -> None:
        descriptor = os.open(path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            msg = (
                f"another Tailrace server is running on the data directory {self.path}: stop it,"
                " or set TAILRACE_DATA to another directory"
            )
            raise StartError(msg) from None
        self._locks.append(descriptor)

    def _moved(self) -> Path | None:
        """Where an earlier start put the data; starting anew without it would hide its loss."""
        try:
            base = Path(self._place.read_text().strip())
        except FileNotFoundError:
            return None
        if not (base / "pg").is_dir():
            msg = (
                f"the data of {self.path} was in {base} and is gone: restore it, or remove"
                f" {self._place} to begin with an empty database"
            )
            raise StartError(msg)
        return base

    def _elsewhere(self, base: Path) -> Path:
        if not claimed(base, {0}):
            base.mkdir()
            base.chmod(0o711)
            (base / "README").write_text(f"The Postgres data of {self.path}\n")
        # Against a copy of the directory that remembers the same place; and systemd-tmpfiles
        # leaves a locked directory alone while it clears old files out of /var/tmp.
        self._lock(base, os.O_RDONLY | os.O_DIRECTORY)
        return base

    def _run(self, base: Path, account: Account) -> Path:
        """A 0700 directory for the socket: whoever can enter it may do everything (trust)."""
        run = base / "run"
        if len(os.fsencode(run / SOCKET)) <= SOCKET_PATH:
            run.mkdir(exist_ok=True)
        else:
            digest = hashlib.sha256(os.fsencode(base)).hexdigest()[:10]
            run = Path(f"/tmp/tailrace-{account.effective}-{digest}")  # noqa: S108 - `claimed`
            if not claimed(run, {os.geteuid(), account.effective}):
                run.mkdir(mode=0o700)
        account.own(run, 0o700)
        return run


def remove_leftovers(pg: Path) -> None:
    """Throw away what an interrupted first start left: it never became `pg`.

    A killed initdb's own child may still be writing into it for a moment, so it is tried again.
    """
    deadline = time.monotonic() + LEFTOVERS
    while left := list(pg.parent.glob(f"{pg.name}.new-*")):
        for path in left:
            shutil.rmtree(path, ignore_errors=True)
        if time.monotonic() > deadline:
            return
        time.sleep(0.02)


def write(file: Path, text: str) -> None:
    """Write a private file whole or not at all."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(f"{text}\n")
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
