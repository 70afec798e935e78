"""The row `uploads` for real, small and short."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from scripts.benchmark.loadgen import MeasureError
from scripts.benchmark.plainly import copy
from scripts.benchmark.result import Result
from scripts.benchmark.rows import uploads
from scripts.benchmark.world import Options, World
from tests.waiting import wait_until

OPTIONS = Options(
    pairs=1, peers=(), clients=2, seconds=0.1, quick=True, other_pct=100.0, repeats=0,
    access_log=False,
)  # fmt: skip


def test_every_upload_of_the_row_arrives_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "QUICK", 512)
    result = Result("uploads", "Uploads")
    with World(OPTIONS) as world:
        uploads.run(world, result)
        assert list(world.folder.glob("*/data")) == []
        assert not (world.folder / "plain").exists()
    figures = {(line.server, line.what): line.value.median for line in result.lines}
    assert figures[uploads.OURS, uploads.RATE] > 0
    assert figures[uploads.PLAIN, uploads.RATE] > 0
    assert result.lines[0].ratio is not None


def test_the_plain_copy_is_one(tmp_path: Path) -> None:
    sample = uploads.Sample(tmp_path / "a", 3 * uploads.MIB + 7)
    found = copy(str(sample.path), str(tmp_path / "b"))
    whole = (tmp_path / "b").read_bytes()
    assert whole == sample.path.read_bytes()
    assert found == sample.sha256 == hashlib.sha256(whole).hexdigest()
    assert len(whole) == sample.size


def test_growth_is_what_was_added() -> None:
    with uploads.Growth(os.getpid()) as growth:
        held = os.urandom(40 * uploads.MIB)
        wait_until(lambda: growth.mb > 35)
        del held
    assert growth.mb < 200


def test_without_room_there_are_no_figures() -> None:
    with pytest.raises(MeasureError, match="no room"), uploads._files(1 << 60, 1):
        pass
