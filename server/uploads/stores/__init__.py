"""The stores that are built in, one file each, and this their registry."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from server.errors import StartError
from server.uploads.stores.disk import DiskStore
from server.uploads.stores.disk import from_url as disk
from server.uploads.stores.s3 import from_url as s3

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from urllib.parse import SplitResult

    from server.uploads.store import Store

SCHEMES: dict[str, Callable[[SplitResult], Store]] = {
    "file": disk,
    "s3": s3,
}


def open_store(url: str | None, data_dir: Path) -> Store:
    """The store that `STORAGE_URL` names; without it, the directory `uploads` of the data.

    Raises:
        StartError: the address is of no form that we know. It is not told: it may hold a password.
    """
    if url is None:
        return DiskStore(data_dir.expanduser().absolute() / "uploads")
    try:
        parts = urlsplit(url)
    except ValueError:
        msg = "STORAGE_URL is not a URL: give it as file:///directory or s3://bucket"
        raise StartError(msg) from None
    if parts.scheme not in SCHEMES:
        known = " or ".join(f"{scheme}://" for scheme in SCHEMES)
        msg = f"STORAGE_URL must start with {known}"
        raise StartError(msg)
    return SCHEMES[parts.scheme](parts)
