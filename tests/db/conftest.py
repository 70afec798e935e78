"""Postgres servers of one test alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.db.embedded import EmbeddedPostgres
from tests.db.making import Make


@pytest.fixture
def make(place: Path) -> Iterator[Make]:
    """Makes servers in this test's directory, and ends them."""
    made: list[EmbeddedPostgres] = []

    def make(path: Path | None = None, **options: str) -> EmbeddedPostgres:
        postgres = EmbeddedPostgres(path or place / "data", options={"fsync": "off"} | options)
        made.append(postgres)
        return postgres

    yield make
    for postgres in made:
        postgres.stop(immediate=True)
