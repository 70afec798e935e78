"""Processes of a run: each on its core, in a session of its own, and ended by whoever began it."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

ALL_CORES = frozenset(os.sched_getaffinity(0))
SERVERS: int | None = min(ALL_CORES) if len(ALL_CORES) > 1 else None
"""The core of the servers, of which one works at a time; `None`: there is only one core."""
LOAD: int | None = max(ALL_CORES) if len(ALL_CORES) > 1 else None
FILES = 65_536
LOOK = 0.005
"""Seconds between looks at whether a process has ended: how exact its end is known."""
PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class StartError(Exception):
    """A server does not start."""


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """What is started within belongs to this core: a child inherits it from this thread."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def raise_files(wanted: int) -> None:
    """Let this process and its children open `wanted` files.

    Raises:
        StartError: they may not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, max(hard, FILES)))
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < wanted:
        msg = f"{wanted} open files are needed and {hard} allowed (ulimit -n, was {soft})"
        raise StartError(msg)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def pss_kb(pid: int) -> int:
    """Memory of one process: its own and its share of what it shares, in KB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    msg = f"the kernel does not tell the memory of {pid}"
    raise StartError(msg)


class Process:
    """A server process that listens on `port`."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        port: int,
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name, self.port, self._log = name, port, log
        with log.open("wb") as output, on_core(SERVERS):
            self._process = subprocess.Popen(
                argv,
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - no other thread holds a lock here
            )
        self.pid = self._process.pid

    def ready(self, timeout: float = 30.0) -> None:
        """Wait until it takes connections.

        Raises:
            StartError: it ends, or does not.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            connected = self._takes_connections()
            # Looked at afterwards: somebody else may have the port, and this one have given up.
            if self._ended() is not None:
                msg = f"{self.name} has ended: {self.said}"
                raise StartError(msg)
            if connected:
                return
            time.sleep(0.02)
        msg = f"{self.name} does not take connections: {self.said}"
        raise StartError(msg)

    def _takes_connections(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def _ended(self) -> int | None:
        """Its exit code once it has ended. It is not reaped: its pid and group stay its own."""
        if self._process.returncode is not None:
            return self._process.returncode
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is None:
            return None
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    @property
    def said(self) -> str:
        """The end of its output."""
        return self._log.read_text(errors="replace")[-500:].strip()

    def signal(self, number: int) -> None:
        """Send a signal."""
        if self._process.returncode is None:
            os.kill(self.pid, number)

    def wait(self, timeout: float) -> int:
        """Its exit code.

        Raises:
            subprocess.TimeoutExpired: it has not ended.
        """
        deadline = time.monotonic() + timeout
        while (code := self._ended()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(self._process.args, timeout)
            time.sleep(LOOK)
        return code

    def stop(self) -> None:
        """End it and what it has started, by force after three seconds."""
        if self._process.returncode is not None:
            return  # the group's number may be another's by now
        self.signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.wait(3)
        # Its session is its own, and it is not reaped yet: nobody else is in that group.
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


def _end_with_parent() -> None:
    """In the child: SIGTERM when the benchmark is killed and can't end it."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
