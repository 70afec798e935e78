"""What the features count, by name: whoever tells figures reads them here and knows no feature.

    outcomes: Counter[str] = Counter()
    app[METERS].counter("webhooks", "Deliveries by what became of them", lambda: outcomes, "state")
    …
    outcomes["done"] += 1

A feature counts in plain attributes or dictionaries of its own, so that a count costs one
operation; they are read once a second. Names are as Prometheus has them (lower case with
underscores, the unit last, no `_total`), and a family has one label at most.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from aiohttp import web

Kind = Literal["counter", "gauge"]
Values = float | Mapping[str, float]

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Family:
    """Figures of one name. `read()`: the value, or with a `label` one for each of its values.

    A counter only grows, from 0 at the start of the process; a gauge is what is now.
    """

    name: str
    kind: Kind
    help: str
    read: Callable[[], Values]
    label: str | None


class Meters:
    """The families of one process."""

    def __init__(self) -> None:
        self._families: dict[str, Family] = {}

    def __iter__(self) -> Iterator[Family]:
        return iter(self._families.values())

    def counter(
        self, name: str, help_: str, read: Callable[[], Values], label: str | None = None
    ) -> None:
        """Have something told that is counted.

        Raises:
            ValueError: the name is taken, or none of Prometheus.
        """
        self._add(Family(name, "counter", help_, read, label))

    def gauge(
        self, name: str, help_: str, read: Callable[[], Values], label: str | None = None
    ) -> None:
        """Have something told that goes up and down.

        Raises:
            ValueError: as `counter`.
        """
        self._add(Family(name, "gauge", help_, read, label))

    def _add(self, family: Family) -> None:
        if not _NAME.fullmatch(family.name) or family.name in self._families:
            msg = f"{family.name!r} is no name for a meter, or taken"
            raise ValueError(msg)
        self._families[family.name] = family


METERS = web.AppKey("meters", Meters)
