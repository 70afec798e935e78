"""Postgres servers of one test alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.db.embedded import EmbeddedPostgres
from tests.conftest import plant
from tests.db.making import Make


@pytest.fixture
def make(place: Path, seed: Path) -> Iterator[Make]:
    """Makes servers in this test's `data` directory, and ends them; `fresh` is a first start."""
    made: list[EmbeddedPostgres] = []

    def make(path: Path | None = None, *, fresh: bool = False, **options: str) -> EmbeddedPostgres:
        if path is None:
            path = place / "data"
            if not fresh and not path.exists():
                plant(seed, path)
        postgres = EmbeddedPostgres(path, options={"fsync": "off"} | options)
        made.append(postgres)
        return postgres

    yield make
    for postgres in made:
        postgres.stop(immediate=True)
