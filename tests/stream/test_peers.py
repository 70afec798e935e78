from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

import asyncpg
import pytest

from server.db.pool import Database
from server.keys import POOL
from server.log import listener, living, peers, seldom
from server.log.control import derive, sign
from server.log.living import LOCK_CLASS, signed
from server.stream.directory import DIRECTORY
from tests.gate import gated
from tests.log.looking import listening
from tests.served import Served, served
from tests.stream.neighbours import admin, end, id_of, knows, listed, met, pair, process, single
from tests.waiting import until

if TYPE_CHECKING:
    from server.db.pool import Connection as Sql

__all__ = ["pair", "single"]

SECRET = "s" * 32
REPORTS = "SELECT count(*) FROM tailrace.report"
TERMINATE = """SELECT count(pg_terminate_backend(pid)) FROM pg_locks
    WHERE locktype = 'advisory' AND classid::bigint = $1 AND mode = 'ShareLock'"""

QUEUED = """SELECT EXISTS (SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND classid::bigint = $1 AND NOT granted)"""


@pytest.fixture
async def sql(clean: Database) -> AsyncIterator[Sql]:
    connection = await asyncpg.connect(clean.url)
    await connection.execute("TRUNCATE tailrace.report")
    yield connection
    await connection.close()


async def test_a_process_that_has_ended_vanishes(server: Served, clean: Database) -> None:
    who = await admin(server)
    async with served(clean) as other:
        await met(server, other)
        await other.live("public.a")
        gone = id_of(other)
        assert (await listed(server, who))["total"] == 1
    # It has said so: nobody has to miss it for a while.
    await until(lambda: process(other) in server.service.log.living._left)
    found = await listed(server, who)
    assert (found["total"], found["complete"]) == (0, True)
    assert [item["id"] for item in found["processes"]] == [process(server)]
    assert await end(server, gone, who) == 404


async def test_a_process_that_is_killed_is_missed_for_a_while(
    server: Served, clean: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "PATIENCE", 0.3)
    who = await admin(server)
    async with gated(clean) as (gate, behind), served(behind) as other:
        await met(server, other)
        await other.live("public.a")
        gone = id_of(other)
        await gate.shut()
        found = await listed(server, who)
        assert (found["total"], found["complete"]) == (0, False)
        assert {"id": process(other), "streams": None, "answered": False} in found["processes"]
        assert await end(server, gone, who) == 503
        monkeypatch.setattr(living, "REMEMBERED", 0)
        await until(lambda: whole(server, who))
        assert await end(server, gone, who) == 404


async def test_a_process_that_nobody_has_asked_for_yet_is_missed_too(
    server: Served, clean: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "PATIENCE", 0.3)
    monkeypatch.setattr(living, "LOOK_EVERY", 0.02)
    async with gated(clean) as (gate, behind), served(clean) as one, served(behind) as other:
        await until(lambda: process(other) in one.service.log.living._seen)
        await gate.shut()
        assert not (await listed(one, await admin(server)))["complete"]


async def test_when_all_listeners_were_cut_nobody_calls_a_list_complete_that_is_not(
    pair: tuple[Served, Served], sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "PATIENCE", 0.3)
    one, other = pair
    who = await admin(one)
    await other.live("public.a")
    assert await sql.fetchval(TERMINATE, LOCK_CLASS) == 2
    assert not (await listed(one, who))["complete"]
    await until(lambda: one.service.log.listener.mode == "notify")
    await met(one, other)
    for server in pair:
        assert not (await listed(server, who))["complete"]  # a third one might be on its way
    assert await end(one, f"00000000-{'0' * 16}", who) == 503
    monkeypatch.setattr(living, "REMEMBERED", 0)
    await until(lambda: whole(one, who))
    assert (await listed(one, who))["total"] == 1


async def test_whoever_holds_the_locks_hides_nobody(
    pair: tuple[Served, Served], sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = pair
    who = await admin(one)
    await other.live("public.a")
    await sql.execute(
        "SELECT pg_advisory_lock_shared($1, n) FROM generate_series(1, $2) n",
        LOCK_CLASS, living.MOST + 1,
    )  # fmt: skip
    monkeypatch.setattr(peers, "PATIENCE", 0.3)
    found = await listed(one, who)
    assert (found["total"], found["complete"]) == (1, False)
    assert await end(one, f"0000ffff-{'0' * 16}", who) == 503
    assert await end(one, id_of(other), who) == 204
    await sql.execute("SELECT pg_advisory_unlock_all()")
    # Queue for a process's lock, so that it can't take it anew.
    alone = sql.execute("SELECT pg_advisory_lock($1, $2)", LOCK_CLASS, signed(process(other)))
    taking = asyncio.create_task(alone)
    pool = one.app[POOL]
    await until(lambda: pool.fetchval(QUEUED, LOCK_CLASS))
    await pool.fetchval(TERMINATE, LOCK_CLASS)
    await taking
    monkeypatch.setattr(living, "REMEMBERED", 0)
    for _ in range(2):
        assert process(other) in await one.service.log.living.others()


async def test_a_process_that_does_not_answer_is_told_and_waited_for_no_longer_than_that(
    server: Served, clean: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "PATIENCE", 0.3)
    who = await admin(server)
    async with gated(clean) as (gate, behind), served(behind) as other:
        await met(server, other)
        await server.live("public.a")
        await other.live("public.a")
        gate.deaf = True
        for what in ("streams", "channels"):
            found = await listed(server, who, what)
            assert (found["total"], found["complete"]) == (1, False)
            assert {item["id"]: (item["streams"], item["answered"])
                    for item in found["processes"]} == {
                process(server): (1, True), process(other): (None, False),
            }  # fmt: skip
        answer, body = await server.get(f"/api/streams/{id_of(other)}", "DELETE", **who)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert body["error"] == "Service unavailable"
        assert len(other.service.streams) == 1
        gate.deaf = False
        await until(lambda: whole(server, who))


async def whole(server: Served, who: Mapping[str, str]) -> bool:
    return bool((await listed(server, who))["complete"])


async def test_a_process_that_hears_no_notifications_still_sees_the_others(
    server: Served, clean: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "PROBE_TIMEOUT", 0.2)
    async with gated(clean) as (gate, behind):
        gate.deaf = True
        async with served(behind) as deaf:
            await met(server)
            await until(lambda: knows(deaf.service.log.living, {process(server)}))
            await server.live("public.a")
            await deaf.live("public.a")
            found = await listed(deaf, await admin(server))
            assert (found["total"], found["complete"]) == (2, True)
            assert deaf.service.log.listener.mode == "polling"
            assert (await listed(server, await admin(server)))["total"] == 1


async def test_without_the_database_a_process_still_knows_its_own_streams(
    clean: Database,
) -> None:
    async with gated(clean) as (gate, behind), served(behind) as server:
        await server.live("public.a")
        await until(lambda: server.service.log.listener.mode == "notify")
        assert (await server.get("/readyz"))[0].status == 200
        await gate.shut()
        found = await server.app[DIRECTORY].streams({"limit": 9}, None)
        assert not found.complete
        assert [item["channels"] for item in found.found[process(server)]["streams"]] == [
            ["public.a"]
        ]
        assert await server.app[DIRECTORY].end(f"00000000-{'0' * 16}") == "silent"
        assert await server.app[DIRECTORY].end(id_of(server)) == "ended"


async def test_a_single_process_asks_nobody(server: Served, sql: Sql) -> None:
    who = await admin(server)
    await server.live("public.a")
    await until(lambda: server.service.log.listener.mode == "notify")
    async with listening(sql) as heard:
        assert (await listed(server, who))["complete"]
        assert (await listed(server, who, "channels"))["complete"]
        assert await end(server, id_of(server), who) == 204
        assert not server.service.log.ephemeral._urgent
        assert not [text for text in await heard.drain() if text.startswith("c")]
    assert await sql.fetchval(REPORTS) == 0


async def test_reports_are_taken_away(pair: tuple[Served, Served], sql: Sql) -> None:
    await sql.execute("INSERT INTO tailrace.report VALUES (gen_random_uuid(), 'else', '{}')")
    who = await admin(pair[0])
    async with listening(sql) as heard:
        await listed(pair[0], who)
        said = [text for text in await heard.drain() if text.startswith("c")]
    assert len(said) == 2  # the question, and one answer
    assert await sql.fetchval("SELECT string_agg(process, ',') FROM tailrace.report") == "else"


async def refused(server: Served, sql: Sql, payload: str) -> None:
    """Send control messages, and wait until the server has refused them."""
    known = server.service.log.peers
    before = known.refused
    await sql.execute("SELECT pg_notify('tailrace', $1)", f"c{payload}")
    await until(lambda: known.refused == before + 1)


async def test_what_is_forged_old_or_damaged_is_refused_and_seldom_told(
    server: Served, sql: Sql, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.live("public.a")
    await until(lambda: server.service.log.listener.mode == "notify")
    body = {
        "from": "0" * 8, "ask": "5f0c8d3a-0000-4000-8000-000000000000", "what": "end",
        "args": {"stream": id_of(server)}, "to": None,
    }  # fmt: skip
    key, now = derive(SECRET), time.time()
    good = sign(body, key, at=now, mark="m1")
    with caplog.at_level(logging.WARNING, "server.log.hearing"):
        for message in (
            {**good, "s": "0" * 64},
            {**good, "t": f"{now + 1:.3f}"},
            sign(body, derive("t" * 32), at=now, mark="m2"),
            sign(body, key, at=now - 61, mark="m3"),
            body,
        ):
            await refused(server, sql, json.dumps([message]))
        for rubbish in ('{"ask":', "1", "[" * 5_000):
            await refused(server, sql, rubbish)
    assert len(caplog.records) == 1
    monkeypatch.setattr(seldom, "PERIOD", 0)
    await refused(server, sql, "1")
    assert [text[:18] for text in caplog.messages] == ["1 control messages", "8 control messages"]
    assert server.service.log.listener.bad_payloads == 0
    assert len(server.service.streams) == 1
    assert await sql.fetchval(REPORTS) == 0
    # The very same message, had it been ours.
    await sql.execute("SELECT pg_notify('tailrace', $1)", f"c{json.dumps([good])}")
    await until(lambda: not len(server.service.streams))


async def test_a_message_is_heard_once(pair: tuple[Served, Served], sql: Sql) -> None:
    one = pair[0]
    async with listening(sql) as heard:
        await listed(one, await admin(one))
        said = [text for text in await heard.drain() if text.startswith("c")]
    assert len(said) == 2  # the question, and its answer
    for number, text in enumerate(said, 1):
        await sql.execute("SELECT pg_notify('tailrace', $1)", text)
        for server in pair:
            await until(lambda: server.service.log.peers.refused == number)  # noqa: B023
    assert await sql.fetchval(REPORTS) == 0


async def test_questions_of_another_version_do_no_harm(server: Served, sql: Sql) -> None:
    await until(lambda: server.service.log.listener.mode == "notify")
    request = "5f0c8d3a-0000-4000-8000-000000000000"
    asked = {"from": "0" * 8, "ask": request, "args": {"limit": 1}, "to": None}
    bodies: list[dict[str, object]] = [
        {"do": "something new"},
        {**asked, "what": "weather"},
        {**asked, "what": "streams", "args": {"limit": "many"}},
        {**asked, "what": "streams"},
    ]
    for number, body in enumerate(bodies):
        message = sign(body, derive(SECRET), at=time.time(), mark=str(number))
        await sql.execute("SELECT pg_notify('tailrace', $1)", f"c{json.dumps([message])}")

    async def answered() -> bool:
        return bool(await sql.fetchval(REPORTS) == 1)

    await until(answered)
    assert server.service.log.peers.refused == 0


async def test_a_cancelled_answer_does_not_end_the_answering(
    pair: tuple[Served, Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "PATIENCE", 0.3)
    one, other = pair

    async def cancelled(_args: object) -> object:
        raise asyncio.CancelledError

    other.service.log.peers.answer("weather", cancelled)
    for _ in range(peers.ANSWERING):
        answers = await one.service.log.peers.ask("weather", {})
        assert answers.missing == {process(other)}
    assert (await listed(one, await admin(one)))["complete"]
