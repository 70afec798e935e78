"""The oracle can fail: each planted bug is caught, in a run shorter than the lawful one."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.db.pool import Database
from tests.webhooks.oracle.chaos import run
from tests.webhooks.oracle.plan import Plan
from tests.webhooks.oracle.planted import BUGS
from tests.webhooks.oracle.processes import world

CAUGHT: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "early-answer": (("end store",) * 5, {"lost", "ids"}),
    "own-memory": ((), {"twice"}),
    "apart": (("end handle",), {"apart"}),
    "any-order": (("end handle",) * 2, {"order"}),
    "last-wins": ((), {"subscription"}),
}
"""The kills that bring it out, and the kinds of violations of which one must be found."""


@pytest.mark.parametrize("bug", BUGS)
async def test_a_planted_bug_is_caught(bug: str, database: Database, place: Path) -> None:
    kills, kinds = CAUGHT[bug]
    plan = Plan(seed=2, users=4)
    async with world(database.url, place, plan.users, "within", bug) as it:
        report = await run(it, plan, kills, seed=2, least=150)
    assert report.kinds & kinds, report.violations
