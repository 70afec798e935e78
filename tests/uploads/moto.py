"""moto's S3 server, a process of its own that speaks HTTP."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path
from typing import NamedTuple, Self

from tests.waiting import wait_until

# The server asks only whether there is one.
SIGNED = "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/s3/aws4_request"
RUNNING = re.compile(r"Running on http://127\.0\.0\.1:(\d+)")


class Answer(NamedTuple):
    """What the server said, whatever the status."""

    status: int
    headers: Message
    body: bytes


class Moto:
    """On a free port. It keeps everything in memory, and checks no keys unless told to."""

    def __init__(self, log: Path) -> None:
        self._log = log
        words = ["-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, *words], stdout=output, stderr=output, env=_environment()
            )

    def __enter__(self) -> Self:
        wait_until(lambda: RUNNING.search(self._log.read_text()) or self.process.poll())
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def port(self) -> int:
        found = RUNNING.search(self._log.read_text())
        assert found is not None, self._log.read_text()
        return int(found[1])

    def request(self, method: str, target: str, body: bytes | None = None) -> Answer:
        url = f"http://127.0.0.1:{self.port}{target}"
        headers = {"Authorization": SIGNED, "Content-Type": "text/plain"}
        request = urllib.request.Request(url, data=body, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request) as response:
                return Answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    def parts(self) -> list[str]:
        """The objects with a multipart upload that was begun and not ended."""
        text = self.request("GET", "/uploads?uploads").body.decode()
        return re.findall("<Key>([^<]*)</Key>", text)

    def guard(self, free: str) -> None:
        """Let so many requests pass (`inf`: all), then only those with keys that exist."""
        assert self.request("POST", "/moto-api/reset-auth", free.encode()).status == 200


def address(port: int, prefix: str = "", bucket: str = "uploads") -> str:
    """A `STORAGE_URL` in the server on this port."""
    endpoint = f"http://127.0.0.1:{port}"
    return f"s3://testing:testing@{bucket}/{prefix}?endpoint={endpoint}&region=us-east-1"


def _environment() -> dict[str, str]:
    """Without the developer's own AWS."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
