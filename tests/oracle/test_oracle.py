"""Chaos in short: every kind of fault on two servers, with everything in flight. See chaos.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.oracle.chaos import Chaos, Shape
from tests.oracle.faults import CLIENT_FAULTS, SERVER_FAULTS
from tests.oracle.world import world

# The slow transaction is through before the last two, which would end it.
FAULTS = ("stop", "overtake", "prune", "kill", "prune", "terminate", "crash")


@pytest.mark.timeout(120)
async def test_every_client_has_what_the_log_has_or_was_told_the_gap(place: Path) -> None:
    assert set(FAULTS) == set(SERVER_FAULTS)
    async with world(place, servers=2) as (it, witness):
        chaos = Chaos(it, witness, seed=1, shape=Shape(clients=16))
        await chaos.round(FAULTS)
    report = chaos.report
    assert report.violations == []
    assert all(report.faults[kind] for kind in (*SERVER_FAULTS, *CLIENT_FAULTS))
    assert report.wrote["slow committed"] == 1
    assert report.told["event"] > 1_000
