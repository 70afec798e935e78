"""A server as people start it: `python -m server serve` in a process of its own, on a free port."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.waiting import wait_until

REPOSITORY = Path(__file__).resolve().parents[1]
ADDRESS = re.compile(r"^Tailrace \S+  (http://\S+)/$", re.MULTILINE)
OURS = ("TAILRACE_", "DATABASE_", "PG")


def environment(settings: dict[str, str]) -> dict[str, str]:
    """This process' environment without settings, and `settings`."""
    plain = {
        name: value
        for name, value in os.environ.items()
        # Any value but an empty one sets the development mode, which takes twice the time.
        if not name.startswith(OURS)
        and name not in {"HOST", "PORT", "CORS_ORIGINS", "PYTHONDEVMODE"}
    }
    # Warnings are errors there as here. aiohttp reads all the machine's certificates as it is
    # imported, which takes a tenth of a start: nobody here speaks to anybody outside.
    return (
        plain
        | {
            "PYTHONWARNINGS": "error",
            "SSL_CERT_FILE": os.devnull,
            "SSL_CERT_DIR": "/nonexistent",
        }
        | settings
    )


class ServerProcess:
    """Starts at once; what it prints goes to `<directory>/server.log`. Killed at the end."""

    def __init__(self, directory: Path, *arguments: str, **settings: str) -> None:
        self.log = directory / "server.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "server", "serve", "--port", "0", *arguments],
                cwd=REPOSITORY,
                env=environment({"TAILRACE_DATA": str(directory / "data")} | settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        return self.log.read_text()

    @property
    def url(self) -> str:
        """The address, without the last slash; waits until the server says it."""
        wait_until(lambda: ADDRESS.search(self.output) or self.process.poll() is not None)
        found = ADDRESS.search(self.output)
        assert found is not None, self.output
        return found[1]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ended(self, timeout: float = 20.0) -> int:
        """Wait for the end; the exit code."""
        return self.process.wait(timeout)
