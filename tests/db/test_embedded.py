from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from server.db.account import Account, choose
from server.db.cluster import Cluster
from server.db.embedded import EmbeddedPostgres
from server.errors import StartError
from tests.db.making import Make, as_root, value
from tests.waiting import until, wait_until

HOLD = """
import signal, sys
from pathlib import Path
from server.db.embedded import EmbeddedPostgres

postgres = EmbeddedPostgres(Path(sys.argv[1]), death_signal=sys.argv[2] == "kernel")
postgres.start()
print(postgres.pid, flush=True)
signal.pause()
"""


def hold(data: Path, how: str = "kernel") -> subprocess.Popen[str]:
    """Another process that has a Postgres in `data`; its first line of output is the pid."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(data), how], stdout=subprocess.PIPE, text=True
    )


def gone(pid: int) -> bool:
    """Whether the process has ended; one that waits for its parent has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state.rpartition(")")[2].split()[0] == "Z"


async def test_the_database_is_utf8_and_sorts_alike_everywhere(postgres: EmbeddedPostgres) -> None:
    query = (
        "SELECT pg_encoding_to_char(encoding) || ' ' || datlocprovider::text || ' ' || datlocale"
        " FROM pg_database WHERE datname = 'tailrace'"
    )
    assert await value(postgres, query) == "UTF8 b C.UTF-8"


async def test_only_the_owner_of_a_private_socket_gets_in(postgres: EmbeddedPostgres) -> None:
    assert await value(postgres, "SHOW listen_addresses") == ""
    run = postgres.cluster.home.run.stat()
    assert stat.S_IMODE(run.st_mode) == 0o700
    assert run.st_uid == postgres.cluster.home.account.effective
    for file in ("secret", "url", "postgres.log", "lock"):
        postgres.data.secret()
        assert stat.S_IMODE((postgres.data.path / file).stat().st_mode) == 0o600


async def test_variables_of_the_user_change_nothing(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, worth in {"PGPORT": "6000", "PGDATA": "/nowhere", "LC_ALL": "tr_TR.UTF-8"}.items():
        monkeypatch.setenv(name, worth)
    postgres = make()
    postgres.start()
    assert await value(postgres, "SHOW port") == "5432"


async def test_data_survives_a_stop_and_the_second_start_makes_nothing(make: Make) -> None:
    postgres = make()
    postgres.start()
    await value(postgres, "CREATE TABLE t AS SELECT 1 AS n")
    postgres.stop()
    assert postgres.pid is None
    postgres.stop()
    postgres.start()
    assert await value(postgres, "SELECT n FROM t") == 1


def test_a_second_server_is_told_in_one_sentence(make: Make) -> None:
    make().start()
    with pytest.raises(StartError, match=r"^another Tailrace server is running on [^.]*$"):
        make().start()


@pytest.mark.parametrize("how", ["kernel", "watchdog"])
def test_no_postgres_outlives_a_killed_server(planted: Path, how: str) -> None:
    if how == "kernel" and sys.platform != "linux":
        pytest.skip("only Linux signals the death of a parent")
    with hold(planted / "data", how) as holder:
        assert holder.stdout is not None
        pid = int(holder.stdout.readline())
        assert not gone(pid)
        holder.kill()
    wait_until(lambda: gone(pid))


async def test_a_start_right_after_a_kill_waits_for_the_old_one(place: Path, make: Make) -> None:
    postgres = make()
    with hold(place / "data") as holder:
        assert holder.stdout is not None
        pid = int(holder.stdout.readline())
        os.kill(pid, signal.SIGSTOP)
        holder.kill()
    asyncio.get_running_loop().call_later(0.3, os.kill, pid, signal.SIGCONT)
    # It still has the files; only then does it read its SIGINT.
    starting = asyncio.create_task(drive(postgres))
    await asyncio.wait_for(starting, 15)
    assert await value(postgres, "SELECT 1") == 1


async def drive(postgres: EmbeddedPostgres) -> None:
    """`start`, but with pauses that let the loop run."""
    postgres.data.open()
    postgres._settle()
    for pause in postgres._boot():
        await asyncio.sleep(pause)


def test_an_old_postgres_that_never_ends_stops_the_start(
    planted: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.db.cluster.OLD_POSTGRES", 0.1)
    with hold(planted / "data") as holder:
        assert holder.stdout is not None
        pid = int(holder.stdout.readline())
        os.kill(pid, signal.SIGSTOP)
        holder.kill()
    with pytest.raises(StartError, match=rf"another Postgres \(process {pid}\) runs on"):
        make().start()
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: gone(pid))


async def test_a_process_with_the_number_of_the_old_postgres_is_no_obstacle(make: Make) -> None:
    postgres = make()
    postgres.start()
    file = postgres.cluster.home.pg / "postmaster.pid"
    postgres.kill()
    account = postgres.cluster.home.account
    with account.spawn(["/bin/sleep", "60"], end=signal.SIGTERM) as bystander:
        lines = file.read_text().splitlines()
        file.write_text("\n".join([str(bystander.pid), *lines[1:]]) + "\n")
        postgres.start()
        bystander.kill()
    assert await value(postgres, "SELECT 1") == 1


async def test_a_postgres_that_dies_is_started_again(make: Make) -> None:
    postgres = make()
    postgres.start()
    watch = asyncio.create_task(postgres.watch())
    for _ in range(2):
        before = postgres.pid
        postgres.kill()
        await until(lambda before=before: postgres.pid not in {None, before})  # type: ignore[misc]
        await until(lambda: postgres.cluster.ready(postgres.pid or 0))
    assert await value(postgres, "SELECT 1") == 1
    assert not watch.done()
    watch.cancel()


async def test_the_watch_ends_when_the_files_are_gone(make: Make) -> None:
    postgres = make()
    postgres.start()
    watch = asyncio.create_task(postgres.watch())
    pg = postgres.cluster.home.pg
    pg.rename(pg.with_name("moved"))
    postgres.kill()
    with pytest.raises(StartError, match="is gone"):
        await asyncio.wait_for(watch, 15)


def test_data_of_another_major_version_asks_for_dump_and_restore(make: Make) -> None:
    postgres = make()
    postgres.start()
    pg = postgres.cluster.home.pg
    postgres.stop()
    (pg / "PG_VERSION").write_text("15\n")
    with pytest.raises(StartError, match=r"written by Postgres 15 and this is 18: dump it"):
        postgres.start()


async def test_a_kill_in_the_middle_of_the_first_start_leaves_nothing_half_made(
    place: Path, make: Make
) -> None:
    data = place / "data"
    with hold(data) as holder:
        await until(lambda: any(data.glob("pg.new-*/global")))
        holder.kill()
    assert not (data / "pg").exists()
    postgres = make()
    postgres.start()
    assert await value(postgres, "SELECT 1") == 1
    assert not list(data.glob("pg.new-*"))


def test_a_postgres_that_cannot_start_is_quoted(make: Make) -> None:
    with pytest.raises(StartError, match='unrecognized configuration parameter "nonsense"'):
        make(nonsense="1").start()
    make().start()


@as_root
def test_root_never_runs_postgres(postgres: EmbeddedPostgres) -> None:
    assert Path(f"/proc/{postgres.pid}").stat().st_uid == choose(Path("/nowhere")).uid != 0


@as_root
def test_existing_data_keeps_its_owner(place: Path) -> None:
    pg = place / "pg"
    pg.mkdir()
    os.chown(pg, 12345, 54321)
    assert choose(pg) == Account(12345, 54321)


def test_the_last_words_are_those_of_the_log(place: Path, postgres: EmbeddedPostgres) -> None:
    (place / "postgres.log").write_text("one\ntwo\n\nthree\n")
    cluster = Cluster(postgres.cluster.home, postgres.cluster.binaries, place / "postgres.log")
    assert cluster.last_words() == "one / two / three"
