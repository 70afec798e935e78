from __future__ import annotations

import shutil
import tempfile
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
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A directory on another file system than `tmp_path`, where the machine has one."""
    for base in map(Path, ("/var/tmp", "/dev/shm")):
        if base.is_dir() and base.stat().st_dev != tmp_path.stat().st_dev:
            directory = Path(tempfile.mkdtemp(dir=base))
            yield directory
            shutil.rmtree(directory)
            return
    pytest.skip("/var/tmp, /dev/shm and the temporary directory are one file system")
