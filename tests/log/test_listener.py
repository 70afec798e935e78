from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import asyncpg
import pytest

from server.db.pool import Database
from server.log import listener as module
from server.log import seldom
from server.log.listener import Listener
from tests.gate import Gate, gated
from tests.log.looking import listening, publish, stamp
from tests.waiting import until

if TYPE_CHECKING:
    from server.db.pool import Connection as Sql
    from server.db.pool import Pool

Heard = list[tuple[str, object]]


@pytest.fixture
def heard() -> Heard:
    """What the listener reported, but for its looks."""
    return []


@pytest.fixture
async def gate(clean: Database) -> AsyncIterator[tuple[Gate, Database]]:
    async with gated(clean) as pair:
        yield pair


@pytest.fixture
async def pool(clean: Database) -> AsyncIterator[Pool]:
    pool = await asyncpg.create_pool(clean.url, min_size=1, max_size=1)
    yield pool
    await pool.close()


@pytest.fixture
async def listener(
    gate: tuple[Gate, Database], pool: Pool, heard: Heard
) -> AsyncIterator[Listener]:
    """A listener that runs behind the gate."""
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1

    listener = Listener(
        lambda: asyncpg.connect(gate[1].url),
        lambda payload: notify(pool, payload),
        on_stamped=lambda hi: heard.append(("stamped", hi)),
        on_poke=lambda: heard.append(("poke", None)),
        on_look=look,
        on_ephemeral=lambda text: heard.append(("ephemeral", text)),
        on_control=lambda text: heard.append(("control", text)),
        on_epoch=lambda: heard.append(("epoch", None)),
    )
    task = asyncio.create_task(listener.run())
    await until(lambda: looks)
    yield listener
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def notify(sql: Sql | Pool, payload: str) -> None:
    await sql.execute("SELECT pg_notify('tailrace', $1)", payload)


async def test_each_kind_of_notification_becomes_its_call(
    sql: Sql, listener: Listener, heard: Heard
) -> None:
    await publish(sql, 1)
    await stamp(sql)
    await notify(sql, 'e[{"channel":"a"}]')
    await notify(sql, "c[1]")
    await sql.execute("SELECT tailrace.epoch_new()")
    await until(lambda: len(heard) == 5)
    assert heard == [
        ("poke", None), ("stamped", 1), ("ephemeral", '[{"channel":"a"}]'), ("control", "[1]"),
        ("epoch", None),
    ]  # fmt: skip
    assert listener.bad_payloads == 0


async def test_rubbish_is_counted_and_harms_nothing_and_is_seldom_told(
    sql: Sql,
    listener: Listener,
    heard: Heard,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for payload in ("x", "1", "1-x", "-", "p", "pnonsense", "\u0661-"):
        await notify(sql, payload)
    await publish(sql, 1)
    await until(lambda: heard == [("poke", None)])
    assert listener.bad_payloads == 5
    monkeypatch.setattr(seldom, "PERIOD", 0)
    await notify(sql, "x")
    await until(lambda: listener.bad_payloads == 6)
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert [text[:15] for text in told] == ["1 notifications", "5 notifications"]


async def test_a_cut_connection_is_made_anew_and_looks_again(
    gate: tuple[Gate, Database], sql: Sql, listener: Listener, heard: Heard
) -> None:
    await until(lambda: listener.mode == "notify")
    before = gate[0].connections
    gate[0].cut()
    await until(lambda: gate[0].connections > before and listener.mode == "notify")
    assert listener.reconnects >= 1
    await publish(sql, 1)
    await until(lambda: heard == [("poke", None)])


async def test_a_connection_that_goes_deaf_is_noticed_and_polling_says_so(
    gate: tuple[Gate, Database], listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    await until(lambda: listener.mode == "notify")
    monkeypatch.setattr(module, "PROBE_TIMEOUT", 0.1)
    monkeypatch.setattr(module, "PROBE_EVERY", 0.1)
    gate[0].deaf = True
    gate[0].cut()
    await until(lambda: listener.reconnects and listener._connection is not None)
    assert await listener.prove() == "polling"
    gate[0].deaf = False
    await until(lambda: listener.mode == "notify")


async def test_what_a_pooled_session_tells_itself_proves_nothing(
    gate: tuple[Gate, Database], pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROBE_TIMEOUT", 0.2)
    gate[0].pooling = True
    # The gate lets it through, as a pooler does.
    itself = await asyncpg.connect(gate[1].url)
    async with listening(itself) as own:
        await notify(itself, "x")
        assert await own.drain() == ["x"]
        await notify(pool, "x")
        assert not await own.drain()
    await itself.close()
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1

    def nothing(*_: object) -> None:
        pass

    listener = Listener(
        lambda: asyncpg.connect(gate[1].url), lambda payload: notify(pool, payload),
        on_stamped=nothing, on_poke=nothing, on_look=look, on_ephemeral=nothing,
        on_control=nothing, on_epoch=nothing,
    )  # fmt: skip
    task = asyncio.create_task(listener.run())
    await until(lambda: looks > 2)  # it polls
    assert await listener.prove() == "polling"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_without_a_connection_nothing_is_proved(
    gate: tuple[Gate, Database], listener: Listener
) -> None:
    await gate[0].shut()
    await until(lambda: listener._connection is None)
    with pytest.raises(ConnectionError):
        await listener.prove()


async def test_a_connection_is_told_of_once_when_it_has_proved_that_notifications_arrive(
    gate: tuple[Gate, Database], pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROBE_TIMEOUT", 0.1)
    monkeypatch.setattr(module, "PROBE_EVERY", 0.02)
    told: list[int] = []

    async def proved(connection: Sql) -> bool:
        told.append(connection.get_server_pid())
        return len(told) > 1  # the first time it did not work

    def nothing(*_: object) -> None:
        pass

    gate[0].deaf = True
    listener = Listener(
        lambda: asyncpg.connect(gate[1].url), lambda payload: notify(pool, payload),
        on_stamped=nothing, on_poke=nothing, on_look=nothing, on_ephemeral=nothing,
        on_control=nothing, on_epoch=nothing, on_proved=proved,
    )  # fmt: skip
    task = asyncio.create_task(listener.run())
    await until(lambda: listener._connection is not None)
    assert (await listener.prove(), told) == ("polling", [])
    gate[0].deaf = False
    await until(lambda: len(told) == 2)
    for _ in range(3):
        assert await listener.prove() == "notify"
    assert len(told) == 2
    gate[0].cut()
    await until(lambda: len(told) == 3)
    assert told[0] == told[1] != told[2]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
