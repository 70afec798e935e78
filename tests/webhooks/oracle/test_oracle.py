"""Chaos in short: two servers and two workers, killed in the midst of storing and handling."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.db.pool import Database
from tests.webhooks.oracle.chaos import run
from tests.webhooks.oracle.kills import KILLS
from tests.webhooks.oracle.plan import Plan
from tests.webhooks.oracle.processes import world


@pytest.mark.timeout(120)
async def test_what_was_acknowledged_is_there_once_and_did_its_work_once(
    database: Database, place: Path
) -> None:
    plan = Plan(seed=1)
    kills = ("end store", "end handle") * 3 + KILLS
    async with world(database.url, place, plan.users, "beside") as it:
        report = await run(it, plan, kills, seed=1, least=300)
    assert report.violations == []
    assert all(report.hits[kind] for kind in KILLS), report.hits
