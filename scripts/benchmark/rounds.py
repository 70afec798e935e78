"""Rounds: every server in turn, the order another each time, so that a mood of the machine that
lasts longer than one run does not fall on the same server always."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from scripts.benchmark.loadgen import MeasureError
from scripts.benchmark.peers import NotInstalledError
from scripts.benchmark.process import StartError
from scripts.benchmark.stats import Spread, ratios, spread

Figures = dict[str, float]


@dataclass(frozen=True)
class Measured:
    """One server's figures of one round. `other_pct`: CPU that went elsewhere meanwhile."""

    figures: Figures
    other_pct: float = 0.0


@dataclass
class Collected:
    """The rounds that count. `spoiled`: how many were thrown away and repeated; `kept`: how many
    of those that count were spoiled too, for want of better ones. `failed`: who is left out."""

    rounds: list[dict[str, Figures]] = field(default_factory=list)
    spoiled: int = 0
    kept: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    def of(self, server: str, figure: str) -> list[float]:
        """A server's figure in each round."""
        return [found[server][figure] for found in self.rounds]

    def has(self, server: str) -> bool:
        """Whether it was measured in every round."""
        return bool(self.rounds) and all(server in found for found in self.rounds)

    def value(self, server: str, figure: str) -> Spread:
        """A server's figure, over all rounds."""
        return spread(self.of(server, figure))

    def ratio(self, server: str, other: str, figure: str) -> Spread:
        """A server's figure over another's, each inside one round."""
        return spread(ratios(self.of(server, figure), self.of(other, figure)))

    def notes(self) -> list[str]:
        """What a reader of the figures has to know."""
        found = [f"{name}: {reason}" for name, reason in self.failed.items()]
        if self.spoiled:
            found.append(f"{self.spoiled} spoiled rounds were repeated")
        if self.kept:
            found.append(
                f"**{self.kept} of {len(self.rounds)} rounds were spoiled by other processes**:"
                " measure again on a quiet machine"
            )
        return found


def collect(
    servers: Sequence[str],
    required: Sequence[str],
    measure: Callable[[str], Measured],
    *,
    pairs: int,
    repeats: int,
    other_pct: float,
) -> Collected:
    """`pairs` rounds. A spoiled one is repeated, at most `repeats` times in all; what cannot be
    measured is left out from then on with its reason, unless it is `required`.

    Raises:
        MeasureError, NotInstalledError, StartError: of a required server.
    """
    result, present = Collected(), list(servers)
    number = 0
    while len(result.rounds) < pairs:
        may_repeat = result.spoiled < repeats
        found: dict[str, Figures] = {}
        worst = 0.0
        shift = number % len(present)
        for name in present[shift:] + present[:shift]:
            try:
                measured = measure(name)
            except (MeasureError, NotInstalledError, StartError) as error:
                if name in required:
                    raise
                what = "not installed" if isinstance(error, NotInstalledError) else "failed"
                result.failed[name] = f"{what}: {error}"
                print(f"    {name} {result.failed[name]}", file=sys.stderr, flush=True)
                continue
            found[name] = measured.figures
            worst = max(worst, measured.other_pct)
            if worst > other_pct and may_repeat:
                break
        present = [name for name in present if name not in result.failed]
        number += 1
        spoiled = worst > other_pct
        _tell(number, found, worst, spoiled=spoiled)
        if spoiled and may_repeat:
            result.spoiled += 1
            continue
        result.kept += spoiled
        result.rounds.append(found)
    return result


def _tell(number: int, found: dict[str, Figures], worst: float, *, spoiled: bool) -> None:
    figures = "; ".join(
        f"{name} " + " ".join(f"{key}={value:.4g}" for key, value in values.items())
        for name, values in found.items()
    )
    mark = f"  SPOILED (others took {worst:.0f} % of a core)" if spoiled else ""
    print(f"    round {number}: {figures}{mark}", file=sys.stderr, flush=True)
