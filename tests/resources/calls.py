"""Requests to the application on a real socket, each on a connection of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.served import Served

_NOTHING = object()


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def issues(self) -> list[tuple[list[Any], str]]:
        """Path and code of every issue."""
        return [(issue["path"], issue["code"]) for issue in self.json["issues"]]


async def call(
    server: Served,
    method: str,
    path: str,
    data: Any = _NOTHING,
    *,
    token: str | None = None,
    raw: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    **more: str,
) -> Answer:
    """Send `data` as JSON, or the `raw` bytes. `more` headers are written with `_` for `-`."""
    given = {"Host": "test", "Connection": "close"}
    if token is not None:
        given["Authorization"] = f"Bearer {token}"
    if data is not _NOTHING:
        raw = json.dumps(data).encode()
    if raw is not None:
        given |= {"Content-Type": "application/json", "Content-Length": str(len(raw))}
    given |= headers or {}
    given |= {name.replace("_", "-"): value for name, value in more.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    stream = await server.raw("\r\n".join(lines).encode() + b"\r\n\r\n" + (raw or b""))
    body = b"" if method == "HEAD" or stream.status == 304 else await stream.rest()
    return Answer(stream.status, stream.headers, body)


def cookie(token: str) -> str:
    """A session as a browser carries it."""
    return f"tailrace.session_token={token}"
