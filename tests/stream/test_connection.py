from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request

from server.stream.connection import Connection

WAITING: dict[Connection, int] = {}


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Connection:
    """One that has written nothing, with a deadline of ten seconds."""
    connection = Connection(make_mocked_request("GET", "/"), 10.0)
    monkeypatch.setattr(connection, "waiting", lambda: WAITING[connection])
    write(connection, 0, 0)
    assert not connection.stalled(100.0, 10.0)
    return connection


def write(connection: Connection, size: int, waiting: int) -> None:
    """So many bytes were written, so many wait for the client."""
    connection.written += size
    WAITING[connection] = waiting


async def test_who_takes_nothing_for_the_deadline_is_stalled(connection: Connection) -> None:
    write(connection, 20, 26)  # the chunk's own bytes wait, too
    assert not connection.stalled(105.0, 10.0)
    write(connection, 20, 52)
    assert not connection.stalled(110.0, 10.0)
    assert connection.stalled(115.0, 10.0)


async def test_who_takes_a_little_is_not(connection: Connection) -> None:
    write(connection, 1_000_000, 1_000_006)
    for now in range(105, 200, 5):
        write(connection, 0, 1_000_000 - now * 100)
        assert not connection.stalled(float(now), 10.0)


async def test_who_has_taken_everything_is_not_however_long_it_is_quiet(
    connection: Connection,
) -> None:
    write(connection, 20, 0)
    for now in (150.0, 500.0, 900.0):
        assert not connection.stalled(now, 10.0)


async def test_the_clock_starts_when_something_waits_not_at_the_last_look(
    connection: Connection,
) -> None:
    write(connection, 20, 0)
    assert not connection.stalled(200.0, 10.0)
    write(connection, 20, 26)  # on its way for a moment
    assert not connection.stalled(215.0, 10.0)
