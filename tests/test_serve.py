"""The process: how it starts, what it refuses, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from server.db.embedded import EmbeddedPostgres
from server.db.pool import Database
from tests.process import REPOSITORY, ServerProcess, environment
from tests.waiting import wait_until

# Process managers kill five seconds after SIGTERM.
CONTRACT = 5.0
SECRET = "a secret of more than thirty-two characters"

Start = Callable[..., ServerProcess]


@pytest.fixture
def start(planted: Path) -> Iterator[Start]:
    """Starts servers on this test's data directory, and kills them at the end."""
    started: list[ServerProcess] = []

    def start(*arguments: str, **settings: str) -> ServerProcess:
        started.append(ServerProcess(planted, *arguments, **settings))
        return started[-1]

    yield start
    for server in started:
        server.process.kill()
        server.process.wait()
        wait_until(lambda server=server: not postgres_of(server.pid))  # type: ignore[misc]


def postgres_of(pid: int) -> list[int]:
    """The Postgres children of a process, from the kernel's table."""
    found = subprocess.run(
        ["ps", "-e", "-o", "pid=,ppid=,stat=,comm="], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in found.stdout.splitlines()]
    return [
        int(row[0])
        for row in rows
        if int(row[1]) == pid and row[3] == "postgres" and not row[2].startswith("Z")
    ]


def command(place: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Another command of the command line on the same data directory."""
    return subprocess.run(
        [sys.executable, "-m", "server", *arguments],
        cwd=REPOSITORY,
        env=environment({"TAILRACE_DATA": str(place / "data")} | settings),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_printed_lines_work_as_they_stand(start: Start) -> None:
    server = start()
    assert httpx.get(f"{server.url}/healthz").status_code == 200
    wait_until(lambda: "publish" in server.output)
    lines = [re.sub(r"^ +\w+ +", "", line) for line in server.output.splitlines()]
    watching = next(line for line in lines if line.startswith("curl -N") and "hello" in line)
    publishing = next(line for line in lines if "tailrace.publish" in line)
    with subprocess.Popen(
        watching, shell=True, stdout=subprocess.PIPE, text=True, process_group=0
    ) as curl:
        assert curl.stdout is not None
        while not curl.stdout.readline().startswith("event: ready"):
            pass
        subprocess.run(publishing, shell=True, check=True, cwd=REPOSITORY, capture_output=True)
        while '"greeting"' not in (line := curl.stdout.readline()):
            assert curl.poll() is None, line
        os.killpg(curl.pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_with_streams_open(start: Start, number: int) -> None:
    server = start()
    with httpx.stream("GET", f"{server.url}/api/stream?channel=public.hello") as response:
        chunks = response.iter_text()
        assert "event: ready" in next(chunks)
        children = postgres_of(server.pid)
        assert children
        before = time.monotonic()
        server.signal(number)
        assert server.ended(CONTRACT) == 0, server.output
        assert time.monotonic() - before < CONTRACT
        assert "event: bye" in "".join(chunks)
    assert "Traceback" not in server.output
    for pid in children:
        assert not Path(f"/proc/{pid}").exists()


def test_a_second_signal_ends_it_at_once(start: Start) -> None:
    server = start()
    assert server.url
    server.signal(signal.SIGSTOP)  # so that both signals are there when it looks
    server.signal(signal.SIGTERM)
    server.signal(signal.SIGINT)
    server.signal(signal.SIGCONT)
    assert server.ended() in {128 + signal.SIGTERM, 128 + signal.SIGINT}


def test_a_signal_during_the_first_start_ends_it(place: Path) -> None:
    with ServerProcess(place) as server:
        wait_until(lambda: any((place / "data").glob("pg*")) or server.process.poll() is not None)
        server.signal(signal.SIGTERM)
        assert server.ended(CONTRACT) == 0, server.output
    assert "Traceback" not in server.output


def test_a_killed_server_leaves_no_postgres_and_loses_nothing(start: Start, place: Path) -> None:
    server = start()
    assert server.url
    (pid,) = postgres_of(server.pid)
    assert command(place, "sql", "CREATE TABLE kept AS SELECT 1 AS n").returncode == 0
    server.process.kill()
    server.ended()
    again = start()
    assert again.url
    assert not Path(f"/proc/{pid}").exists() or pid not in postgres_of(again.pid)
    assert "1" in command(place, "sql", "SELECT n FROM kept").stdout


def test_streams_survive_a_restart_of_the_embedded_postgres(start: Start, place: Path) -> None:
    server = start()
    url = f"{server.url}/api/stream?channel=public.hello"
    with httpx.stream("GET", url, timeout=30) as response:
        lines = response.iter_lines()
        while "event: ready" not in next(lines):
            pass
        (pid,) = postgres_of(server.pid)
        os.kill(pid, signal.SIGKILL)
        publish = "SELECT tailrace.publish('public.hello', 'again', '{}')"
        wait_until(lambda: command(place, "sql", publish).returncode == 0)
        while '"type":"again"' not in next(lines):
            pass


def test_a_second_server_says_so_in_one_sentence(start: Start, place: Path) -> None:
    first = start()
    assert first.url
    second = command(place, "serve", "--port", "0")
    assert second.returncode == 1
    assert second.stdout == ""
    assert second.stderr.startswith("tailrace: another Tailrace server is running on ")
    assert second.stderr.count("\n") == 1
    assert httpx.get(f"{first.url}/healthz").status_code == 200


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"TAILRACE_SECRET": "short"}, "TAILRACE_SECRET: String should have at least 32"),
        ({"TAILRACE_TYPO": "1"}, "unknown setting TAILRACE_TYPO"),
        ({"DATABASE_URL": "postgresql://127.0.0.1:1/x"}, "TAILRACE_SECRET is not"),
        (
            {"DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:1/x", "TAILRACE_SECRET": SECRET},
            "cannot connect to Postgres at 127.0.0.1:1/x: Connection refused",
        ),
        ({"STRIPE_WEBHOOK_SECRET": " hunter2"}, "tailrace: STRIPE_WEBHOOK_SECRET: the secret has"),
        ({"HOST": "nowhere.invalid"}, "HOST nowhere.invalid is no address of this machine"),
        ({"HOST": "192.0.2.1"}, "HOST 192.0.2.1 is no address of this machine"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_a_sentence(
    planted: Path, settings: dict[str, str], says: str
) -> None:
    done = command(planted, "serve", "--port", "0", **settings)
    assert done.returncode == 1
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr


def test_a_taken_port_is_a_sentence(planted: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        done = command(planted, "serve", "--port", str(port))
    assert done.returncode == 1
    assert done.stderr == (
        f"tailrace: port {port} on 127.0.0.1 is in use: stop what listens there, or set PORT\n"
    )


def test_data_of_another_major_version_is_a_sentence(planted: Path) -> None:
    (planted / "data" / "pg" / "PG_VERSION").write_text("17\n")
    done = command(planted, "serve", "--port", "0")
    assert done.returncode == 1
    assert "was written by Postgres 17 and this is 18: dump it" in done.stderr


def test_a_database_of_yours_starts_no_postgres_and_no_demo(
    start: Start, database: Database
) -> None:
    server = start(DATABASE_URL=database.url, TAILRACE_SECRET=SECRET)
    assert httpx.get(f"{server.url}/readyz").status_code == 200
    assert postgres_of(server.pid) == []
    assert "demo" not in server.output
    assert database.url not in server.output
    server.signal(signal.SIGTERM)
    assert server.ended(CONTRACT) == 0


def test_an_unmigrated_database_with_migrate_off_is_not_changed(
    start: Start, postgres: EmbeddedPostgres, database: Database
) -> None:
    postgres.run("psql", "-c", "DROP SCHEMA tailrace CASCADE", database.url)
    server = start(DATABASE_URL=database.url, TAILRACE_SECRET=SECRET, TAILRACE_MIGRATE="off")
    assert server.ended() == 1
    says = "tailrace: TAILRACE_MIGRATE is off and the database has no schema, not "
    assert server.output.startswith(says)


def test_migrate_and_sql_work_without_a_server(place: Path, database: Database) -> None:
    assert command(place, "migrate", DATABASE_URL=database.url).returncode == 0
    done = command(place, "sql", "SELECT 1 AS a; SELECT 'x' AS b", DATABASE_URL=database.url)
    assert done.stdout.split() == ["a", "---", "1", "(1", "row)", "b", "---", "x", "(1", "row)"]
    assert command(place, "sql", "SELEKT", DATABASE_URL=database.url).returncode != 0
    absent = command(place, "sql", "SELECT 1")
    assert absent.returncode == 1
    assert absent.stderr.startswith("tailrace: no server runs on the data directory ")


def test_a_new_epoch_changes_the_ids(place: Path, database: Database) -> None:
    settings = {"DATABASE_URL": database.url}
    before = command(place, "sql", "SELECT tailrace.position()", **settings).stdout
    done = command(place, "epoch", "new", **settings)
    assert done.returncode == 0, done.stderr
    assert command(place, "sql", "SELECT tailrace.position()", **settings).stdout != before
