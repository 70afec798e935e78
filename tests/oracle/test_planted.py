"""The oracle can fail: each planted bug is caught, by its name, in a scenario that is lawful
without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.db.pool import Database
from tests.oracle import scenarios
from tests.oracle.planted import BUGS
from tests.oracle.scenarios import SCENARIOS, Scenario, stage_on

CAUGHT: dict[str, tuple[Scenario, set[str]]] = {
    "skip": (scenarios.live, {"lost"}),
    "twice": (scenarios.live, {"twice"}),
    "swap": (scenarios.live, {"order"}),
    "by-id": (scenarios.overtaken_commit, {"behind", "lost"}),
    "swallow": (scenarios.come_back_late, {"gap", "lost"}),
    "floor-first": (scenarios.pruned_under_a_page, {"lost"}),
    "from-head": (scenarios.come_back, {"ready", "lost"}),
    "early-mark": (scenarios.live, {"order", "beyond"}),
}


@pytest.mark.parametrize("bug", BUGS)
async def test_a_planted_bug_is_caught(bug: str, database: Database, place: Path) -> None:
    scenario, kinds = CAUGHT[bug]
    async with stage_on(database.url, place, bug) as stage:
        await scenario(stage)
        assert {found.kind for found in await stage.verdict()} == kinds


async def test_without_a_bug_every_scenario_is_lawful(database: Database, place: Path) -> None:
    async with stage_on(database.url, place, None) as stage:
        for scenario in SCENARIOS:
            await scenario(stage)
            assert await stage.verdict() == []
