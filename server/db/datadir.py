"""The data directory (`TAILRACE_DATA`): its owner, its lock, its secret, and Postgres' place in it.

- `lock`: flocked, one server at a time
- `secret`: signs cookies and tokens when TAILRACE_SECRET is not set
- `url`: the running server's Postgres, for `tailrace sql`
- `postgres.log`
- `pg`, `run`: Postgres' own files and its socket; as root in /var/tmp/tailrace-… when the account
  of Postgres cannot enter the directory
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from server.db.account import Account, choose
from server.db.binaries import SHARED, claimed
from server.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Callable


SOCKET = ".s.PGSQL.5432"
# sun_path holds 108 bytes on Linux and 104 elsewhere, the closing NUL included.
SOCKET_PATH = 107 if sys.platform == "linux" else 103
# A log of this size is set aside at the next start.
LOG_BYTES = 16 * 1024 * 1024
OURS = {"lock", "pg", "secret"}
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
        self._locks: list[int] = []

    def open(self) -> None:
        """Make the directory or take an empty one over, and lock it.

        Raises:
            StartError: it holds something else, cannot be written, or another server runs in it.
        """
        try:
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
            self._lock()
        except OSError as error:
            msg = (
                f"cannot use the data directory {self.path} ({error.strerror}): set TAILRACE_DATA"
                " to a directory that this user may write to"
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
        if account.uid is not None and self._must_move(account):
            base = self._elsewhere()
            account = choose(base / "pg")
            if account.unreachable([("x", base)]):
                msg = (
                    f"user {account.uid}, which Postgres would run as, can enter neither"
                    f" {self.path} nor {base}: set TAILRACE_DATA to a directory that it can reach"
                )
                raise StartError(msg)
            say(
                f"Postgres keeps its data in {base}, because its user cannot enter {self.path};"
                " set TAILRACE_DATA to a directory that it can reach to keep the data there."
            )
        return Home(account, base / "pg", self._run(base, account))

    def secret(self) -> str:
        """The secret of this directory, made at the first use and kept."""
        file = self.path / "secret"
        try:
            if not file.exists():
                write(file, secrets.token_urlsafe(32))
            return file.read_text().strip()
        except OSError as error:
            msg = f"cannot read or make {file}: {error.strerror}"
            raise StartError(msg) from None

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
        try:
            if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
                self.log.replace(self.log.with_suffix(".log.1"))
            # It quotes statements, so it is as private as the data.
            return os.fdopen(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")
        except OSError as error:
            msg = f"cannot write {self.log}: {error.strerror}"
            raise StartError(msg) from None

    def _take_over(self) -> None:
        if os.geteuid() == 0:
            os.chown(self.path, 0, 0)
        # Others pass through to `pg`, if they own it, and see nothing.
        self.path.chmod(0o711 if os.geteuid() == 0 else 0o700)

    def _lock(self) -> None:
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
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

    def _must_move(self, account: Account) -> bool:
        """Whether the account cannot enter, or could not at the first start: the data stays."""
        moved = not (self.path / "pg").exists() and (self._shared() / "pg").exists()
        return moved or bool(account.unreachable([("x", self.path)]))

    def _shared(self) -> Path:
        digest = hashlib.sha256(os.fsencode(self.path.resolve())).hexdigest()[:10]
        return SHARED / f"tailrace-{digest}"

    def _elsewhere(self) -> Path:
        base = self._shared()
        if not claimed(base, {0}):
            base.mkdir()
            base.chmod(0o711)
        # systemd-tmpfiles leaves a locked directory alone while it ages out /var/tmp.
        descriptor = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        self._locks.append(descriptor)
        return base

    def _run(self, base: Path, account: Account) -> Path:
        """A 0700 directory for the socket: whoever can enter it may do everything (trust)."""
        run = base / "run"
        if len(os.fsencode(run / SOCKET)) <= SOCKET_PATH:
            run.mkdir(exist_ok=True)
        else:
            digest = hashlib.sha256(os.fsencode(base)).hexdigest()[:10]
            run = Path(f"/tmp/tailrace-{account.effective}-{digest}")  # noqa: S108 - `claimed`
            if not claimed(run, {0, account.effective}):
                run.mkdir(mode=0o700)
        account.own(run, 0o700)
        return run


def remove_leftovers(pg: Path) -> None:
    """Throw away what an interrupted first start left: it never became `pg`."""
    for path in pg.parent.glob(f"{pg.name}.new-*"):
        shutil.rmtree(path, ignore_errors=True)


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
