"""Posting webhooks: for real, where there is a C compiler, and what makes a measurement fail."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from scripts.benchmark import deliveries
from scripts.benchmark.hookload import Answer, HookLoad, Requests, message_id, read
from scripts.benchmark.loadgen import MeasureError
from scripts.benchmark.rows.webhooks import AFTER, ALL, CHANNEL, OURS, OWN, RECEIVED, latencies
from scripts.benchmark.watcher import Seen, Watcher
from scripts.benchmark.world import Options, World

TOLD = {"begin": 100, "end": 1_000_000_100, "server_us": 2000.0, "own_us": 100.0}
OPTIONS = Options(
    pairs=1,
    peers=(),
    clients=None,
    seconds=0.3,
    quick=True,
    other_pct=100.0,
    repeats=0,
    access_log=False,
)
LOAD = HookLoad(senders=8, seconds=0.2, rate=2_000, warm=0.1)
compiled = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no C compiler")


def lines(*answers: tuple[int, str]) -> str:
    return "".join(
        f"{number} {1000 * number + 100} {1000 * number + 600} {status} {found}\n"
        for number, (status, found) in enumerate(answers)
    )


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World(OPTIONS) as world:
        yield world


@pytest.fixture(scope="module")
def requests(world: World) -> Requests:
    return Requests(world.folder)


async def commits(url: str) -> tuple[int, int]:
    """How many deliveries there are, and how many transactions have stored them."""
    connection = await asyncpg.connect(url)
    try:
        found = await connection.fetchrow(
            "SELECT count(*), count(DISTINCT xmin::text) FROM public.webhook_deliveries"
        )
    finally:
        await connection.close()
    assert found is not None
    return found[0], found[1]


async def forget_one(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "DELETE FROM public.webhook_deliveries WHERE message_id = $1", message_id(0)
        )
    finally:
        await connection.close()


@compiled
def test_every_acknowledged_delivery_is_stored_and_seen(world: World, requests: Requests) -> None:
    url = world.postgres.url
    with world.serve("tailrace", None, **OWN[OURS].settings) as target:
        asyncio.run(deliveries.emptied(url))
        with Watcher(target, CHANNEL) as watcher:
            posted = LOAD.run(target, requests, world.folder)
            seen = watcher.seen(RECEIVED, len(posted.answers))
        assert asyncio.run(deliveries.stored(url, posted)) == 0
    assert posted.rate > 0
    assert posted.server_us > 0
    assert set(latencies(posted.answers, seen)) >= {f"{AFTER}, p50", f"{ALL}, p99"}
    stored, transactions = asyncio.run(commits(url))
    assert stored > transactions
    asyncio.run(forget_one(url))
    with pytest.raises(MeasureError, match="1 of them are not in the table"):
        asyncio.run(deliveries.stored(url, posted))


@compiled
def test_one_transaction_each_is_what_it_says(world: World, requests: Requests) -> None:
    with world.serve("tailrace-pool", None, **OWN[OURS].settings) as target:
        asyncio.run(deliveries.emptied(world.postgres.url))
        posted = LOAD.run(target, requests, world.folder)
        asyncio.run(deliveries.stored(world.postgres.url, posted))
    assert asyncio.run(commits(world.postgres.url)) == (len(posted.answers),) * 2


@compiled
def test_bare_aiohttp_answers_the_same_unless_it_finds_a_wrong_signature(
    world: World, requests: Requests, tmp_path: Path
) -> None:
    wrong = Requests(tmp_path)
    file = wrong.at_least(LOAD.needed)
    file.write_bytes(file.read_bytes().replace(b"payment.succeeded", b"payment.succeeder"))
    with world.serve("bare-webhooks-verified") as target:
        assert len(LOAD.run(target, requests, world.folder).answers) > 8
        with pytest.raises(MeasureError, match=r"were not acknowledged: msg_bench_\d+ got 401"):
            LOAD.run(target, wrong, tmp_path)


def test_the_figures_are_those_of_what_was_measured() -> None:
    good = [(200, "a")] * 20
    posted = read(lines(*good), TOLD, 0.002, 3.0)
    assert posted.rate == 20
    assert posted.p50_ms == 0.0005
    assert (posted.server_us, posted.sender_us, posted.database_us) == (100.0, 5.0, 100.0)
    assert posted.stored[message_id(7)] == "a"


@pytest.mark.parametrize("wrong", [(503, "-"), (200, "-"), (0, "-"), (401, "a")])
def test_an_answer_that_is_no_acknowledgement_is_an_error(wrong: tuple[int, str]) -> None:
    with pytest.raises(MeasureError, match="1 were not acknowledged"):
        read(lines(*[(200, "a")] * 20, wrong), TOLD, 0.0, 0.0)


def test_too_few_answers_are_no_figure() -> None:
    with pytest.raises(MeasureError, match="too few"):
        read(lines((200, "a")), TOLD, 0.0, 0.0)


def test_an_event_may_come_before_its_answer() -> None:
    answers = [Answer(0, 1_000_000, 3_000_000, "a"), Answer(1, 1_000_000, 3_000_000, "b")]
    seen = [Seen(2_000_000, RECEIVED, "a"), Seen(2_000_000, RECEIVED, "b")]
    found = latencies(answers, seen)
    assert (found[f"{AFTER}, p50"], found[f"{ALL}, p50"]) == (-1.0, 1.0)


@pytest.mark.parametrize("keys", ["a", "aa", "ac", "abc", "abb"])
def test_each_delivery_must_be_seen_once(keys: str) -> None:
    answers = [Answer(0, 1, 2, "a"), Answer(1, 1, 2, "b")]
    with pytest.raises(MeasureError, match="events of"):
        latencies(answers, [Seen(3, RECEIVED, key) for key in keys])
