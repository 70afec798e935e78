"""The server processes of a world: started as a user starts them, stopped in every rude way."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from server.db.account import DEATH_SIGNAL, Account
from tests.oracle.model import Violation
from tests.waiting import until

REPOSITORY = Path(__file__).resolve().parents[2]
API_KEY = "oracle-" + "k" * 32
SMALL = {
    # So small that a stalled reader lags at once, and a replay has to go to the log.
    "TAILRACE_RING_BYTES": str(64 * 1024),
    "TAILRACE_STREAM_BUFFER": "4096",
    "TAILRACE_HEARTBEAT": "0.3",
    "TAILRACE_PARTITION_SIZE": "200",
    "TAILRACE_WRITE_DEADLINE": "3",
    "TAILRACE_POOL_SIZE": "4",
}
_ADDRESS = re.compile(r"^Tailrace \S+  http://127\.0\.0\.1:(\d+)/$", re.MULTILINE)
# Nothing that the faults do may make a part of the server fail: it waits, and says so in a warning.
_BAD = re.compile(r"^.* (?:ERROR|CRITICAL) .*$|^.*\d: \w*Warning: .*$", re.MULTILINE)


class Server:
    """One `python -m server serve`; it dies with this process."""

    PLANTED = "tests.oracle.planted"
    """The module that starts it with a bug."""

    def __init__(
        self, name: str, place: Path, url: str, settings: Mapping[str, str], bug: str | None = None
    ) -> None:
        self.name = name
        self.port = 0
        self.stopped = False
        self._place = place / name
        self._place.mkdir()
        self._log = self._place / "log"
        self._bug = bug
        self._environment = {
            "DATABASE_URL": url,
            "TAILRACE_SECRET": "s" * 32,
            "TAILRACE_API_KEY": API_KEY,
            "TAILRACE_DATA": str(self._place / "data"),
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONWARNINGS": "default",
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    @property
    def up(self) -> bool:
        """Whether it runs, and is not stopped."""
        return self._process is not None and self._process.poll() is None and not self.stopped

    def spawn(self) -> None:
        """Begin a start, on the port that it had before."""
        module = ["server"] if self._bug is None else [self.PLANTED, self._bug]
        argv = [sys.executable, "-m", *module, *self._arguments()]
        self.starts += 1
        with self._log.open("ab") as output:
            if DEATH_SIGNAL:
                self._process = Account(None, None).spawn(
                    argv, end=signal.SIGKILL, env=self._environment, output=output.fileno()
                )
            else:
                self._process = subprocess.Popen(
                    argv,
                    env=os.environ | self._environment,
                    stdout=output,
                    stderr=output,
                    cwd="/",
                )

    async def ready(self) -> None:
        """Wait until it says its address."""
        await until(lambda: len(self._addresses()) == self.starts or self._ended())
        assert not self._ended(), self._log.read_text()
        self.port = int(self._addresses()[-1])

    async def start(self) -> None:
        """Start it and wait until it serves."""
        self.spawn()
        await self.ready()

    def stop(self) -> None:
        """SIGSTOP: it hangs, and its connections with it."""
        self._signal(signal.SIGSTOP)
        self.stopped = True

    def go_on(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)
        self.stopped = False

    def kill(self) -> None:
        """SIGKILL."""
        self._signal(signal.SIGKILL)
        self.stopped = False
        assert self._process is not None
        self._process.wait(5)

    def close(self) -> None:
        """End it as a process manager does, at last by force."""
        if self._process is None or self._process.poll() is not None:
            return
        self.go_on()
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()

    def complaints(self) -> Iterator[Violation]:
        """What its log says that it should not have to say."""
        if self._ended():
            yield Violation("server", self.name, "it ended by itself")
        for match in _BAD.finditer(self._log.read_text()):
            yield Violation("server", self.name, match[0])

    def _arguments(self) -> list[str]:
        return ["serve", "--port", str(self.port), "--no-demo"]

    def _addresses(self) -> list[str]:
        return _ADDRESS.findall(self._log.read_text())

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
