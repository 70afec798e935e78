"""A file put into a store, read and listed."""

from __future__ import annotations

import uuid
from pathlib import Path

from server.uploads.store import Store
from tests.uploads.making import NAME

KEY = NAME


def source(directory: Path, content: bytes) -> Path:
    path = directory / uuid.uuid4().hex
    path.write_bytes(content)
    return path


async def put(store: Store, directory: Path, content: bytes, key: str = KEY) -> None:
    path = source(directory, content)
    await store.put(key, path, size=len(content), content_type="image/png")
    assert not path.exists()


async def read(store: Store, start: int, length: int, key: str = KEY) -> bytes:
    return b"".join([chunk async for chunk in store.open(key, start, length)])


async def listed(store: Store) -> dict[str, int]:
    return {found.key: found.size async for found in store.keys()}  # noqa: SIM118
