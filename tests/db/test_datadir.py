from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.db import datadir
from server.db.embedded import EmbeddedPostgres
from server.errors import StartError
from tests.db.making import ROOT, Make, as_root, value


def test_a_directory_with_other_files_is_left_alone(place: Path, make: Make) -> None:
    (place / "thesis.txt").write_text("mine")
    with pytest.raises(StartError, match="holds files that are not Tailrace's"):
        make(place).start()
    assert [entry.name for entry in place.iterdir()] == ["thesis.txt"]


def test_an_empty_directory_is_taken_over(place: Path, make: Make) -> None:
    if ROOT:
        os.chown(place, 12345, 12345)
    place.chmod(0o700)
    make(place).start()
    assert place.stat().st_uid == os.geteuid()


def test_a_file_in_the_place_of_the_directory_is_a_sentence(place: Path, make: Make) -> None:
    (place / "data").touch()
    with pytest.raises(StartError, match=r"cannot use the data directory .* \(File exists\)"):
        make().start()


def test_the_secret_is_made_once_and_kept(place: Path) -> None:
    first = datadir.DataDir(place).secret()
    assert len(first) >= 32
    assert datadir.DataDir(place).secret() == first


def test_the_address_is_announced_while_it_runs(make: Make) -> None:
    postgres = make()
    postgres.start()
    assert datadir.DataDir(postgres.data.path).announced() == postgres.url
    postgres.stop()
    assert datadir.DataDir(postgres.data.path).announced() is None


async def test_a_path_too_long_for_a_socket_and_full_of_signs_works(
    place: Path, make: Make
) -> None:
    long = place / ("long " * 20) / "ü'\"%,x"
    postgres = make(long)
    postgres.start()
    assert await value(postgres, "SELECT 1") == 1
    assert not postgres.cluster.home.run.is_relative_to(long)
    postgres.stop()
    postgres.cluster.home.run.rmdir()


@pytest.fixture
def hidden(place: Path) -> Iterator[EmbeddedPostgres]:
    """A running Postgres whose user cannot enter the data directory."""
    place.chmod(0o700)
    postgres = EmbeddedPostgres(place / "data")
    postgres.start()
    base = postgres.cluster.home.pg.parent
    postgres.run("psql", "-c", "CREATE TABLE t AS SELECT 1 AS n", postgres.url)
    yield postgres
    postgres.stop(immediate=True)
    shutil.rmtree(base, ignore_errors=True)


def kept(postgres: EmbeddedPostgres) -> bool:
    """Whether the table of `hidden` is there."""
    return postgres.run("psql", "-Atc", "SELECT n FROM t", postgres.url) == "1\n"


@as_root
def test_data_out_of_reach_is_kept_elsewhere_and_that_is_said(
    place: Path, hidden: EmbeddedPostgres
) -> None:
    hidden.stop()
    said: list[str] = []
    again = EmbeddedPostgres(place / "data", say=said.append)
    again.start()
    base = again.cluster.home.pg.parent
    assert base.parent == Path("/var/tmp")
    assert str(base) in said[0]
    assert stat.S_IMODE((base / "pg").stat().st_mode) == 0o700
    assert kept(again)
    again.stop(immediate=True)


@as_root
def test_data_kept_elsewhere_is_found_again_after_a_move(
    place: Path, hidden: EmbeddedPostgres, make: Make
) -> None:
    hidden.stop()
    (place / "data").rename(place / "moved")
    place.chmod(0o711)
    moved = make(place / "moved")
    moved.start()
    assert kept(moved)


@as_root
def test_a_copy_that_remembers_the_same_place_does_not_run_beside_it(
    place: Path, hidden: EmbeddedPostgres, make: Make
) -> None:
    shutil.copytree(place / "data", place / "copy")
    with pytest.raises(StartError, match="another Tailrace server is running"):
        make(place / "copy").start()
    assert kept(hidden)


@as_root
def test_data_that_vanished_elsewhere_is_not_replaced_in_silence(hidden: EmbeddedPostgres) -> None:
    base = hidden.cluster.home.pg.parent
    hidden.stop()
    shutil.rmtree(base)
    with pytest.raises(StartError, match=rf"was in {base} and is gone: restore it, or remove"):
        hidden.start()


def test_what_the_file_system_refuses_is_a_sentence(place: Path, make: Make) -> None:
    postgres = make(fresh=True)
    postgres.data.open()
    postgres.data.close()
    (postgres.data.path / "run").touch()
    with pytest.raises(StartError, match=r"File exists at .*/data/run\): set TAILRACE_DATA to"):
        postgres.start()
