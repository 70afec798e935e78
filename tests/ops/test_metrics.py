from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from server.db.pool import Database
from server.keys import POOL
from server.meters import Meters
from server.ops.clock import Clock
from server.ops.metrics import CHANNEL, Figures
from server.stream.latency import MOST, Latency
from server.webhooks.providers.stripe import STRIPE
from tests.gate import gated
from tests.served import BEARER, Served, Stream, served
from tests.stream.neighbours import met, process
from tests.uploads.forms import form, head, part
from tests.uploads.making import encoded, picture
from tests.waiting import until

SECRET = "whsec_0123456789abcdef0123456789"
Told = dict[str, Any]


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures and looks at the streams come ten times a second."""
    monkeypatch.setattr("server.ops.metrics.PERIOD", 0.1)
    monkeypatch.setattr("server.stream.streams.TICK", 0.1)


async def watching(server: Served) -> Stream:
    """A stream of the figures that an admin of this server sees."""
    return (await server.live(CHANNEL, headers=BEARER))[0]


async def seen(
    stream: Stream, enough: Callable[[list[Told]], object], before: Sequence[Told] = ()
) -> list[Told]:
    """The figures that come, after those of before, until they are enough."""
    found = list(before)
    while not enough(found):
        block = await stream.named(None)
        assert (block.id, block.data["key"]) == (None, block.data["data"]["process"])
        Figures.model_validate(block.data["data"])
        found.append(block.data["data"])
    return found


def total(figures: list[Told], *path: str) -> float:
    """What a rate adds up to, from the first that one process told to the last."""
    return sum(
        value_of(told, path) * (value_of(told, ("uptime",)) - value_of(last, ("uptime",)))
        for last, told in itertools.pairwise(figures)
    )


def value_of(told: Told, path: tuple[str, ...]) -> float:
    value: Any = told
    for name in path:
        value = value[name]
    return float(value)


async def test_a_subscriber_of_one_process_hears_all_each_once(clean: Database) -> None:
    async with served(clean) as one, served(clean) as other:
        await met(one, other)
        for server in (one, other):
            await until(lambda: server.service.log.listener.mode == "notify")  # noqa: B023
        stream = await watching(one)
        names = {process(one), process(other)}
        figures = await seen(stream, lambda found: min(_count(found, names).values()) >= 2)
    assert {told["process"] for told in figures} == names
    looks = [(told["process"], told["uptime"]) for told in figures]
    assert len(set(looks)) == len(looks)
    assert {told["process"]: told["clients"] for told in figures} == {
        process(one): 1,
        process(other): 0,
    }


def _count(figures: list[Told], names: set[str]) -> Counter[str]:
    counted: Counter[str] = Counter(dict.fromkeys(names, 0))
    counted.update(told["process"] for told in figures)
    return counted


async def test_one_process_alone_notifies_nobody(server: Served) -> None:
    figures = await seen(await watching(server), lambda found: len(found) == 3)
    assert server.service.log.ephemeral.sent == 0
    assert figures[-1]["process"] == process(server)
    assert figures[-1]["latency"] is None  # nobody was given an event
    assert figures[-1]["memory"] > 10_000_000


async def test_what_happens_is_counted(clean: Database) -> None:
    async with served(clean, stripe_webhook_secret=SECRET) as server:
        stream = await watching(server)
        first = await seen(stream, lambda found: found)
        slow, _ = await server.live("public.a", buffer=4_096)
        slow.pause()
        quick, _ = await server.live("public.a")
        await deliver(server, SECRET, 200)
        await deliver(server, "whsec_of-somebody-else-0123456789", 401)
        image = encoded(picture(), "PNG")
        body = form(part(image))
        assert (await server.raw(head(len(body)) + body)).status == 200
        for _ in range(15):  # no more at once than its socket takes
            await server.publish("public.a", *["x" * 4_000] * 10)
            await quick.messages(10)
        figures = await seen(
            stream,
            lambda found: (
                total(found, "events_per_second") >= 145
                and total(found, "deliveries_per_second") >= 145
                and total(found, "rates", "webhooks", "unhandled")
                and total(found, "rates", "uploads", "ready")
                and total(found, "bytes_per_second") >= 600_000
                and found[-1]["lagging"] == 1
                and any(told["latency"] for told in found)
            ),
            first,
        )
    assert max(told["clients"] for told in figures) == 3
    webhooks = {
        state: bool(total(figures, "rates", "webhooks", state))
        for state in ("accepted", "refused", "unhandled", "repeated", "dead")
    }
    assert webhooks == {
        "accepted": True, "refused": True, "unhandled": True, "repeated": False, "dead": False,
    }  # fmt: skip
    assert total(figures, "rates", "upload_bytes") == pytest.approx(len(image), rel=0.2)
    assert not total(figures, "rates", "uploads", "failed")
    assert figures[-1]["gauges"]["uploads_running"] == 0
    delays = [told["latency"] for told in figures if told["latency"]]
    assert all(0 <= delay["p50"] <= delay["p99"] for delay in delays)
    assert sum(delay["samples"] for delay in delays) >= 1


async def deliver(server: Served, secret: str, status: int) -> None:
    body = b'{"id":"evt_1","object":"event","type":"plan.created","data":{"object":{}}}'
    headers = STRIPE.scheme.sign(body, secret, message_id="evt_1", at=time.time())
    lines = [f"POST {STRIPE.path} HTTP/1.1", "Host: test", f"Content-Length: {len(body)}"]
    lines += ["Content-Type: application/json", *(f"{n}: {v}" for n, v in headers.items())]
    answer = await server.raw("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    assert answer.status == status, await answer.rest()


@pytest.mark.parametrize("takeover", ["on", "off"])
async def test_a_latency_is_told_for_both_carriers_of_a_stream(
    clean: Database, takeover: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.ops.metrics.PERIOD", 3_600)  # it takes the samples away
    monkeypatch.setattr("server.stream.latency.SPACING", 0)
    async with served(clean, takeover=takeover) as server:
        latency = server.service.pubsub.latency
        subscribers = server.service.pubsub.subscribers
        single, _ = await server.live("public.a")
        several, _ = await server.live("public.a", "public.b")
        clock = Clock(server.app[POOL])
        await clock.measure()
        await server.publish("public.nobody", 1)
        await server.settled()
        assert latency.take(clock.ahead) is None
        await server.publish("public.b", 1)
        await several.messages(1)
        await until(lambda: not latency.waits)
        taken = latency.take(clock.ahead)
        assert taken is not None
        assert taken.samples == 1
        await server.publish("public.a", 1)
        await single.messages(1)
        await until(lambda: not latency.waits)
        assert latency.take(clock.ahead) is not None
        poll = asyncio.create_task(server.get("/api/events?channel=public.c&wait=20"))
        await until(
            lambda: any(it.live and it.parked and "public.c" in it.channels for it in subscribers)
        )
        await server.publish("public.c", 1)
        assert (await poll)[1]["events"]
        await until(lambda: not latency.waits)
        assert latency.take(clock.ahead) is not None


async def test_it_goes_on_without_the_database(clean: Database) -> None:
    async with (
        gated(clean) as (gate, database),
        served(database) as cut,
        served(clean) as other,
    ):
        await met(cut, other)
        names = {process(cut), process(other)}
        stream, elsewhere = await watching(cut), await watching(other)
        await seen(stream, lambda found: min(_count(found, names).values()))
        await seen(elsewhere, lambda found: min(_count(found, names).values()))
        await gate.shut()
        await seen(stream, lambda found: found and found[-1]["mode"] == "polling")
        own = await seen(stream, lambda found: len(found) == 3)
        assert {told["process"] for told in own} == {process(cut)}
        await gate.open()
        await seen(stream, lambda found: min(_count(found, names).values()))
        await seen(elsewhere, lambda found: min(_count(found, names).values()) >= 2)


def body_at(moment: float) -> str:
    """An event as the log has it, published at this Unix time."""
    at = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")[:-6]
    return f'{{"channel":"a","type":"t","key":"\\"at\\":\\"x","at":"{at}Z","data":{{"at":"y"}}}}'


def waits(latency: Latency) -> bool:
    return latency.waits


def test_a_sample_is_from_its_publishing_to_the_end_of_its_fan_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr("server.stream.latency.time.monotonic", lambda: now)
    latency, ahead = Latency(), 1_800_000_000.0
    for wait in (0.010, 0.020, 0.030):
        assert latency.begin(body_at(ahead + now - wait), lines=5, rounds=2)
        latency.passed(5, 1)
        latency.passed(4, 2)
        assert waits(latency)
        latency.passed(6, 2)
        assert not waits(latency)
        assert not latency.begin(body_at(ahead + now))  # too soon after the one before
        now += 0.1
    taken = latency.take(ahead)
    assert taken is not None
    # Half a millisecond less, which the event's time was cut by on average.
    assert taken == pytest.approx((0.0195, 0.0295, 3), abs=1e-3)
    assert latency.take(ahead) is None


def test_samples_are_bounded_and_worth_nothing_without_a_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr("server.stream.latency.time.monotonic", lambda: now)
    latency = Latency()
    for _ in range(MOST + 5):
        latency.begin(body_at(now))
        latency.end()
        now += 1.0
    taken = latency.take(0.0)
    assert taken is not None
    assert taken.samples == MOST
    latency.begin(body_at(now))
    latency.end()
    assert latency.take(None) is None


def test_names_of_meters_are_prometheus_and_taken_once() -> None:
    meters = Meters()
    meters.counter("upload_bytes", "Bytes", lambda: 1)
    for name in ("upload_bytes", "Upload", "a-b", "", "a__b", "1a"):
        with pytest.raises(ValueError, match="meter"):
            meters.gauge(name, "…", lambda: 1)
    assert [(family.name, family.kind) for family in meters] == [("upload_bytes", "counter")]
