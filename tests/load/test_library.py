"""Readers by the Python client, judged like everybody else."""

from __future__ import annotations

from typing import Any

import pytest

from server.client import Stream
from server.db.pool import Database
from tests.load.playing import play
from tests.served import KEY, served

SMALL = (
    "--clients", "4", "--readers", "2", "--seconds", "1.2", "--rate", "100", "--channels", "3",
    "--interval", "0.5", "--spread", "0",
)  # fmt: skip


async def churn(database: Database, *more: str) -> dict[str, Any]:
    """The report of a run in which all come back quickly."""
    async with served(database, limits="off") as server:
        server.service.streams.retry = lambda: 20  # type: ignore[method-assign]
        return await play(server.url, KEY, "churn", *SMALL, *more)


async def test_readers_are_cut_and_have_everything(clean: Database) -> None:
    report = await churn(clean)
    totals, verdict = report["totals"], report["verdict"]
    assert report["exact"], verdict
    assert report["outcome"] == "exact"
    assert verdict["clients_judged"] == 6
    assert totals["readers"]["deliveries"] == 2 * totals["acknowledged"] > 0
    assert totals["readers"]["cuts"] >= 4
    assert totals["deliveries"] + totals["readers"]["deliveries"] == verdict["expected_deliveries"]


async def test_a_client_that_passes_events_over_is_found_out(
    clean: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Stream._advance

    def forgetful(self: Stream, id_: str) -> bool:
        return right(self, id_) and not id_.endswith("7")

    monkeypatch.setattr(Stream, "_advance", forgetful)
    verdict = (await churn(clean, "--settle", "1"))["verdict"]
    assert verdict["clients_harmed"] == 2
    assert set(verdict["violations"]) <= {"lost", "undelivered"}
    assert verdict["violations"]["lost"] > 0
