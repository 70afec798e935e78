"""Medians, spreads, and ratios that are taken inside a round."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """Several runs of one thing: the median, and the lowest and highest of all `n`."""

    median: float
    low: float
    high: float
    n: int


def spread(values: Iterable[float]) -> Spread:
    """The spread of at least one value.

    Raises:
        ValueError: there is none.
    """
    found = list(values)
    if not found:
        msg = "no run to take a median of"
        raise ValueError(msg)
    return Spread(statistics.median(found), min(found), max(found), len(found))


def ratios(mine: Sequence[float], others: Sequence[float]) -> list[float]:
    """Each run's figure over that of the other in the same round.

    The machine's mood is the same for both only inside a round, so medians of all runs are not
    divided by each other.

    Raises:
        ValueError: the two are not of the same rounds, or there is nothing to divide by.
    """
    if len(mine) != len(others):
        msg = f"{len(mine)} runs can't be compared with {len(others)}"
        raise ValueError(msg)
    if not all(value > 0 for value in others):
        msg = "a run that measured nothing is no measure for others"
        raise ValueError(msg)
    return [a / b for a, b in zip(mine, others, strict=True)]


def digits(value: float) -> str:
    """A figure with the three digits that can be believed."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def tell(found: Spread) -> str:
    """`1.37 (1.30-1.46)`; one run has no spread."""
    if found.n == 1:
        return digits(found.median)
    return f"{digits(found.median)} ({digits(found.low)}-{digits(found.high)})"
