"""What a row of measurements comes to: lines with a figure, its goal, and whether it is reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from scripts.benchmark.stats import Spread, digits


@dataclass(frozen=True)
class Goal:
    """At most, or at least, so much; of the ratio if the line has one, else of the value."""

    side: Literal["at most", "at least"]
    limit: float

    def met(self, figure: float) -> bool:
        """Whether a figure reaches it."""
        return figure <= self.limit if self.side == "at most" else figure >= self.limit

    def __str__(self) -> str:
        return f"{'≤' if self.side == 'at most' else '≥'} {digits(self.limit)}"


@dataclass(frozen=True)
class Line:
    """One server's figure. `against`: whose figure of the same round the ratio is over."""

    server: str
    what: str
    unit: str
    value: Spread
    ratio: Spread | None = None
    against: str = ""
    goal: Goal | None = None

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached, by the median; `None` without a goal."""
        if self.goal is None:
            return None
        return self.goal.met((self.ratio or self.value).median)


@dataclass
class Result:
    """One row. `failed`: why its figures are worth nothing, or why there are none."""

    name: str
    title: str
    method: str = ""
    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: str | None = None
    seconds: float = 0.0
