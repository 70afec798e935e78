"""A server of the test's own, from this repository, for a fresh clone and one command."""

from __future__ import annotations

import ctypes
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scripts.load.options import UsageError

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = re.compile(r"^Tailrace \S+  (http://\S+)/$", re.MULTILINE)
START_SECONDS = 60.0
END_SECONDS = 10.0
FOREIGN = ("TAILRACE_", "DATABASE_", "PG", "REDIS_")
PR_SET_PDEATHSIG = 1


class OwnServer:
    """`python -m server serve` with limits off, its data in a temporary directory."""

    def __init__(self) -> None:
        self.key = secrets.token_hex(24)
        # The account of Postgres must pass through it: not in a home, not shut.
        self._place = Path(tempfile.mkdtemp(prefix="tailrace-load-", dir="/tmp"))
        self._place.chmod(0o711)
        self._log = self._place / "server.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "server", "serve", "--port", "0", "--no-demo"],
                cwd=ROOT,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A Ctrl-C is for the test, which ends the server when it has reported.
                process_group=0,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )

    def _environment(self) -> dict[str, str]:
        plain = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(FOREIGN) and name not in {"HOST", "PORT", "CORS_ORIGINS"}
        }
        return plain | {
            "TAILRACE_DATA": str(self._place / "data"),
            "TAILRACE_API_KEY": self.key,
            "TAILRACE_LIMITS": "off",
            "TAILRACE_ACCESS_LOG": "off",
        }

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def url(self) -> str:
        """Its address; waits until it says it.

        Raises:
            UsageError: it does not start.
        """
        end = time.monotonic() + START_SECONDS
        while not (found := ADDRESS.search(self._log.read_text(errors="replace"))):
            if self._process.poll() is not None or time.monotonic() > end:
                said = self._log.read_text(errors="replace")[-2000:]
                raise UsageError(f"the server has not started:\n{said}")
            time.sleep(0.05)
        return found[1]

    def complaints(self) -> list[str]:
        """Lines of its log that tell of failures, the first ones."""
        lines = self._log.read_text(errors="replace").splitlines()
        return [line[:300] for line in lines if "ERROR" in line or "Traceback" in line][:10]

    def end(self) -> None:
        """Stop it, this process and no other, and remove its data."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._place, ignore_errors=True)


def _end_with_parent() -> None:
    """In the child: SIGTERM when this test is killed and can't end it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
