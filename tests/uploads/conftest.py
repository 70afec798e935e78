from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.uploads.moto import Moto


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """An S3 server with a bucket `uploads`, for the session: it takes seconds to start."""
    with Moto(tmp_path_factory.mktemp("moto") / "log") as server:
        server.request("PUT", "/uploads")
        yield server


@pytest.fixture
def elsewhere(shelf: Path, tmp_path: Path) -> Path:
    """A directory on another file system than `tmp_path`, where the machine has one."""
    if shelf.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("/dev/shm and the temporary directory are one file system")
    directory = shelf / tmp_path.name
    directory.mkdir()
    return directory
