"""The account that Postgres runs under: ourselves, or as root an existing unprivileged one."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

LAUNCH = Path(__file__).with_name("launch.py")
CANDIDATES = ("postgres", "nobody")
# Only Linux has PR_SET_PDEATHSIG; elsewhere launch.py leaves a watchdog on a pipe.
DEATH_SIGNAL = sys.platform == "linux"


@dataclass(frozen=True, slots=True)
class Account:
    """Ids to change to; `None` when we are not root and Postgres runs as we do."""

    uid: int | None
    gid: int | None

    @property
    def effective(self) -> int:
        """The user id that Postgres will have."""
        return os.geteuid() if self.uid is None else self.uid

    def own(self, path: Path, mode: int) -> None:
        """Give `path` to the account with exactly `mode`, whatever the umask was."""
        path.chmod(mode)
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def spawn(
        self,
        argv: Sequence[str],
        *,
        end: int,
        pipe: int | None = None,
        env: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
        output: int = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        """Start a program that gets signal `end` when we die; only from the main thread.

        The kernel sends PDEATHSIG at the end of the spawning *thread*.
        """
        order = {"argv": list(argv), "signal": end, "parent": os.getpid(), "pipe": pipe}
        return subprocess.Popen(  # noqa: S603 - our own programs
            self._command(order),
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT if output == subprocess.PIPE else output,
            env=environment(env),
            cwd="/",
            pass_fds=() if pipe is None else (pipe,),
        )

    def unreachable(self, wanted: Iterable[tuple[str, Path]]) -> list[Path]:
        """Ask the account itself which of (mode, path) it cannot get at, parents included."""
        order = {"access": [(mode, str(path)) for mode, path in wanted]}
        done = subprocess.run(  # noqa: S603 - our own program
            self._command(order), capture_output=True, env=environment(None), cwd="/", check=False
        )
        if done.returncode:
            reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            msg = f"cannot become user {self.uid} to run Postgres: {' '.join(reason)}"
            raise StartError(msg)
        return [Path(path) for path in json.loads(done.stdout)]

    def _command(self, order: dict[str, Any]) -> list[str]:
        ids = {"uid": self.uid, "gid": self.gid}
        return [sys.executable, "-I", "-S", "-B", str(LAUNCH), json.dumps(ids | order)]


def complete(process: subprocess.Popen[bytes], stdin: bytes | None = None) -> bytes:
    """Wait for a program's end, its output if it was asked for; an interrupted wait ends it."""
    try:
        return process.communicate(stdin)[0] or b""
    except BaseException:
        process.kill()
        process.wait()
        raise


def choose(existing: Path) -> Account:
    """The account for the data in `existing`, which keeps its owner when it has an ordinary one."""
    if os.geteuid() != 0:
        return Account(None, None)
    if existing.exists():
        owner = existing.stat()
        if owner.st_uid != 0:
            return Account(owner.st_uid, owner.st_gid)
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(entry.pw_uid, entry.pw_gid)
    msg = (
        "Postgres refuses to run as root and this machine has neither a user postgres nor nobody:"
        " start as an ordinary user, or set DATABASE_URL"
    )
    raise StartError(msg)


def environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    """A plain environment: the user's PG… variables, locale and zone would change things."""
    plain = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    # Some Pythons find their own library through it.
    for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"):
        if name in os.environ:
            plain[name] = os.environ[name]
    return plain | dict(extra or {})
