"""Webhooks: how many deliveries are taken, each durable before its answer, and when one is seen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from scripts.benchmark import deliveries
from scripts.benchmark.hookload import Answer, HookLoad, Requests, quantile
from scripts.benchmark.loadgen import MeasureError
from scripts.benchmark.result import Goal, Line, Result
from scripts.benchmark.rounds import Collected, Measured, collect
from scripts.benchmark.stats import tell
from scripts.benchmark.watcher import Seen, Watcher
from scripts.benchmark.world import WEBHOOK_KEY, Options, World
from server.db.embedded import EmbeddedPostgres

SENDERS = 64
CHANNEL, RECEIVED = "ops.webhooks", "webhook.received"
LIVE_SENDERS, LIVE_RATE, LIVE_LEAST = 8, 200.0, 5.0
RATE, CPU, DATABASE_CPU, P99 = "deliveries", "server's CPU", "Postgres' CPU", "answered, p99"
UNITS = {RATE: "/s", CPU: "µs", DATABASE_CPU: "µs", P99: "ms"}
AFTER, ALL = "from the 2xx to the event", "from the POST's start to the event"
ANSWERED = "from the POST's start to the 2xx"
SHARES = {"p50": 0.5, "p99": 0.99}
LIVE = [f"{what}, {share}" for what in (ANSWERED, AFTER, ALL) for share in SHARES]
OFF, ON = "TAILRACE_WEBHOOK_WORKERS=0", "TAILRACE_WEBHOOK_WORKERS=2"


@dataclass(frozen=True)
class Variant:
    """A server, and how it is started; `bare`: nothing is stored."""

    serve: str
    settings: Mapping[str, str] = field(default_factory=dict)
    bare: bool = False


def _tailrace(serve: str, *settings: str) -> Variant:
    given = dict(setting.split("=") for setting in settings)
    return Variant(serve, given | {"DODO_PAYMENTS_WEBHOOK_KEY": WEBHOOK_KEY})


OURS, WORKING = "tailrace", "tailrace, workers"
EACH, EACH_64, QUEUE = "each, pool of 8", "each, pool of 64", "one after another"
BARE, VERIFIED = "bare aiohttp", "bare, verifying"
SLOW = {
    EACH: _tailrace("tailrace-pool", OFF),
    EACH_64: _tailrace("tailrace-pool", OFF, "TAILRACE_POOL_SIZE=64"),
    QUEUE: _tailrace("tailrace-queue", OFF),
    OURS: _tailrace("tailrace", OFF),
}
OWN = {
    BARE: Variant("bare-webhooks", bare=True),
    VERIFIED: Variant("bare-webhooks-verified", bare=True),
    OURS: _tailrace("tailrace", OFF),
    WORKING: _tailrace("tailrace", ON),
}
LIVE_OF = (OURS, WORKING)
TIMES_EACH, SHARE_OF_BARE = Goal("at least", 10), Goal("at least", 0.5)


def run(world: World, result: Result) -> None:
    """On a disk that flushes in 1 ms, on this machine's own, and the way to a subscriber."""
    result.method = (
        f"{SENDERS} senders on as many connections post signed Dodo deliveries, each a new one,"
        " made and signed before; a sender's next leaves when its last is answered. Every answer"
        " has to be a 200 with an id, and afterwards the table exactly those messages and ids."
        " **1 ms flush**: beside the same server with a transaction for each delivery, on the"
        " connections of its pool at once, and one after the other. **This disk**: beside aiohttp"
        " that reads the body and answers the same JSON, and one that also verifies."
        f" **Live**: {LIVE_RATE:.0f} deliveries/s from {LIVE_SENDERS} senders, and a subscriber of"
        f" `{CHANNEL}`: from the moment the sender has read the 2xx to the moment the subscriber"
        " has the event; negative when the event was first. CPU: of the web process, and of"
        " Postgres, for each delivery."
    )
    requests = Requests(world.folder)
    slow = _rates(world, requests, SLOW, world.slow)
    _lines(result, slow, "1 ms flush", SLOW, (EACH, TIMES_EACH))
    own = _rates(world, requests, OWN, world.postgres)
    _lines(result, own, "this disk", OWN, (BARE, SHARE_OF_BARE))
    seen = _live(world, requests)
    for what in LIVE:
        result.lines += [Line(name, what, "ms", seen.value(name, what)) for name in LIVE_OF]
    for name in (EACH_64, QUEUE):
        ratio = slow.ratio(OURS, name, RATE)
        result.notes.append(f"with a flush of 1 ms: tailrace is {tell(ratio)} × {name}")
    handled = own.value(WORKING, "handled/s")
    result.notes.append(f"the workers handled {tell(handled)} deliveries/s during that")
    for collected in (slow, own, seen):
        result.notes += collected.notes()


def _rates(
    world: World, requests: Requests, variants: Mapping[str, Variant], postgres: EmbeddedPostgres
) -> Collected:
    """As many deliveries as are taken."""
    load = HookLoad(SENDERS, world.options.seconds)

    def measure(name: str) -> Measured:
        variant = variants[name]
        with world.serve(variant.serve, postgres, **variant.settings) as target:
            if variant.bare:
                posted = load.run(target, requests, world.folder)
                handled = 0
            else:
                asyncio.run(deliveries.emptied(postgres.url))
                posted = load.run(target, requests, world.folder)
                handled = asyncio.run(deliveries.stored(postgres.url, posted))
        figures = {
            RATE: posted.rate,
            CPU: posted.server_us,
            DATABASE_CPU: posted.database_us,
            P99: posted.p99_ms,
            "sender µs": posted.sender_us,
            "handled/s": handled / (load.seconds + load.warm),
        }
        return Measured(figures, posted.other_pct)

    return _collect(world.options, list(variants), measure)


def _live(world: World, requests: Requests) -> Collected:
    """From a sender's 2xx to a subscriber's event."""
    seconds = max(world.options.seconds, 1 if world.options.quick else LIVE_LEAST)
    load = HookLoad(LIVE_SENDERS, seconds, LIVE_RATE)

    def measure(name: str) -> Measured:
        variant = OWN[name]
        with world.serve(variant.serve, None, **variant.settings) as target:
            asyncio.run(deliveries.emptied(world.postgres.url))
            with Watcher(target, CHANNEL) as watcher:
                posted = load.run(target, requests, world.folder)
                seen = watcher.seen(RECEIVED, len(posted.answers))
            asyncio.run(deliveries.stored(world.postgres.url, posted))
        if posted.rate < LIVE_RATE * 0.9:
            raise MeasureError(f"{posted.rate:.0f} deliveries/s instead of {LIVE_RATE:.0f}")
        return Measured(latencies(posted.answers, seen), posted.other_pct)

    return _collect(world.options, list(LIVE_OF), measure)


def latencies(answers: Sequence[Answer], seen: Sequence[Seen]) -> dict[str, float]:
    """The figures of `LIVE`, in ms.

    Raises:
        MeasureError: not each delivery was seen once.
    """
    at = {one.key: one.at for one in seen}
    if len(at) != len(seen) or at.keys() != {answer.id for answer in answers}:
        raise MeasureError(f"{len(seen)} events of {len(at)} deliveries came, not {len(answers)}")
    found = {
        ANSWERED: [one.done - one.sent for one in answers],
        AFTER: [at[one.id] - one.done for one in answers],
        ALL: [at[one.id] - one.sent for one in answers],
    }
    return {
        f"{what}, {name}": quantile(sorted(took), share) / 1e6
        for what, took in found.items()
        for name, share in SHARES.items()
    }


def _collect(options: Options, names: list[str], measure: Callable[[str], Measured]) -> Collected:
    return collect(
        names,
        names,
        measure,
        pairs=options.pairs,
        repeats=options.repeats,
        other_pct=options.other_pct,
    )


def _lines(
    result: Result,
    collected: Collected,
    where: str,
    names: Iterable[str],
    beside: tuple[str, Goal],
) -> None:
    against, goal = beside
    for what, unit in UNITS.items():
        for name in names:
            if what == DATABASE_CPU and name in (BARE, VERIFIED):
                continue
            comparable = name != against and what in (RATE, CPU)
            result.lines.append(
                Line(
                    name,
                    f"{where}: {what}",
                    unit,
                    collected.value(name, what),
                    collected.ratio(name, against, what) if comparable else None,
                    against if comparable else "",
                    goal if name == OURS and what == RATE else None,
                )
            )
