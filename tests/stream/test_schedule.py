"""Whatever happens in whatever order, every client gets what is promised; and a bug is found."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from server.db.embedded import EmbeddedPostgres
from server.db.pool import Database, create_pool
from tests.conftest import CLONE, database_url
from tests.stream.bugs import (
    BUGS,
    Plant,
    beats_ahead,
    fork_unasked,
    round_for_everybody,
    spills_nothing,
)
from tests.stream.reading import Violation
from tests.stream.schedule import SMALL, Step, World

if TYPE_CHECKING:
    from server.db.pool import Connection, Pool

Run = Callable[[int, Sequence[Step]], Counter[str | None]]

EXAMPLES = 80
"""Schedules that have to be lawful."""
FINDS = 600
"""Schedules within which each bug has to be found, most are within a dozen. hypothesis draws on the
constants of all modules that are imported, so they are others with each change of any of them."""

NAMES = st.sampled_from([["a"], ["a", "b.x"], ["b.*"], [">"]])
CHANNELS = st.sampled_from(["a", "a", "b.x", "b.y"])
KEYS = st.sampled_from(["1", "2", None])
SIZES = st.sampled_from([0, 0, 0, 100, 600, 3_000])
DRAFTS = st.lists(st.tuples(CHANNELS, KEYS, SIZES), min_size=3, max_size=12)
ROOM = st.none() | st.integers(0, 3_000)
WHO = st.integers(0, 5)
BACK = st.none() | st.integers(0, 30)

# What a step is given, and how often it comes.
STEPS: dict[str, tuple[int, st.SearchStrategy[tuple[object, ...]]]] = {
    "come": (4, st.tuples(NAMES, st.booleans(), BACK, ROOM, st.booleans())),
    "publish": (6, st.tuples(DRAFTS)),
    "deliver": (6, st.tuples(st.integers(1, 8))),
    "turn": (5, st.tuples(st.integers(1, 3))),
    "read": (6, st.tuples(st.integers(1, 4))),
    "take": (4, st.tuples(WHO, ROOM)),
    "stall": (2, st.tuples(WHO)),
    "cut": (2, st.tuples(WHO)),
    "again": (3, st.tuples(WHO, ROOM, st.booleans())),
    "look": (2, st.tuples()),
    "prune": (1, st.tuples(st.integers(0, 10))),
    "fork": (2, st.tuples(st.integers(0, 5), st.booleans())),
    "beat": (1, st.tuples()),
    "ground": (1, st.tuples()),
}
NAMED = [name for name, (weight, _) in STEPS.items() for _ in range(weight)]
STEP = st.sampled_from(NAMED).flatmap(
    lambda name: STEPS[name][1].map(lambda arguments: (name, *arguments))
)
SCHEDULE = st.lists(STEP, min_size=30, max_size=70)
RING = st.sampled_from([0, 3_000, 20_000, 10**6])


@pytest.fixture(scope="module")
def run(postgres: EmbeddedPostgres) -> Iterator[Run]:
    """Runs a schedule; all share one Postgres and one loop."""
    # A worker may come to this module a second time, when tests are dealt out one by one.
    name = f"schedules_{uuid.uuid4().hex[:12]}"
    postgres.run("psql", "-qc", CLONE.format(name), postgres.url)
    database = Database(database_url(postgres, name), None, embedded=True)

    async def unchecked(connection: Connection) -> None:
        """Its epochs are made by the schedules."""

    async def opened() -> Pool:
        pool = await create_pool(database, 4, check=unchecked)
        await pool.execute("SELECT tailrace.extend(100000, 100000)")
        return pool

    async def play(pool: Pool, ring_bytes: int, steps: Sequence[Step]) -> Counter[str | None]:
        world = World(pool, ring_bytes)
        try:
            await world.begin()
            await world.play(steps)
        finally:
            await world.end()
        return sum((client.counts for client in world.clients), Counter())

    with asyncio.Runner() as runner, pytest.MonkeyPatch.context() as patch:
        for name, bound in SMALL.items():
            patch.setattr(name, bound)
        pool = runner.run(opened())
        yield lambda ring_bytes, steps: runner.run(play(pool, ring_bytes, steps))
        runner.run(pool.close())


def law(run: Run, examples: int, *phases: Phase) -> Counter[str | None]:
    """Run schedules, always the same ones; what clients were given.

    Raises:
        Violation: at the first that breaks the law.
    """
    given_: Counter[str | None] = Counter()

    @settings(
        max_examples=examples, derandomize=True,
        report_multiple_bugs=False, deadline=None, database=None,
        phases=[Phase.generate, *phases], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(RING, SCHEDULE)
    def schedules(ring_bytes: int, steps: list[Step]) -> None:
        given_.update(run(ring_bytes, steps))

    schedules()
    return given_


def test_every_client_gets_what_is_promised(run: Run) -> None:
    given_ = law(run, EXAMPLES, Phase.shrink)
    # The schedules go where they are to go.
    assert min(given_[name] for name in (None, "ready", "mark", "gap", "skipped")) > EXAMPLES


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_found(
    run: Run, bug: Callable[[Plant], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    bug(monkeypatch.setattr)
    with pytest.raises(Violation):
        law(run, FINDS)


@pytest.mark.parametrize(
    ("step", "bug"), [("beat", beats_ahead), ("ground", spills_nothing)], ids=["beat", "ground"]
)
def test_what_waits_for_its_round_is_not_passed_over(
    run: Run, step: str, bug: Callable[[Plant], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule: list[Step] = [
        ("come", ["a"], False, None, None, False),
        ("turn", 3),
        ("publish", [("a", None, 0)] * 3),
        ("deliver", 3),
        (step,),
    ]
    assert run(10**6, schedule)[None] == 3
    bug(monkeypatch.setattr)
    with pytest.raises(Violation):
        run(10**6, schedule)


def test_who_comes_while_a_round_is_under_way_is_not_given_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    come: Step = ("come", ["a"], False, None, None, False)
    schedule: list[Step] = [
        come,
        ("turn", 3),
        ("publish", [("a", None, 0)] * 3),
        ("deliver", 1),
        come,
        ("turn", 3),
        ("deliver", 3),
        ("turn", 3),
    ]
    run(10**6, schedule)
    round_for_everybody(monkeypatch.setattr)
    with pytest.raises(Violation):
        run(10**6, schedule)


def test_who_is_told_a_gap_that_fills_its_socket_does_not_become_live(run: Run) -> None:
    run(
        0,
        [
            ("publish", [("a", None, 0)] * 3),
            ("deliver", 3),
            ("come", ["a"], False, 3, 200, False),  # room for the beginning, not for the gap
            ("turn", 3),
            ("fork", 1, True),  # while its page is under way
            ("turn", 3),
            ("read", 4),
        ],
    )


def test_a_failover_that_loses_what_replaced_the_skipped_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule: list[Step] = [
        ("publish", [("a", "1", 0), ("a", "2", 0), ("a", "1", 0)]),
        ("deliver", 3),
        ("come", ["a"], True, 3, 500, False),  # room for the second, not for the third
        ("turn", 5),
        ("cut", 0),
        ("fork", 1, True),
        ("again", 0, None, True),
    ]
    assert run(10**6, schedule)["gap"] == 1
    fork_unasked(monkeypatch.setattr)
    with pytest.raises(Violation, match="holds"):
        run(10**6, schedule)
