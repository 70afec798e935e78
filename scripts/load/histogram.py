"""A log-linear histogram of microseconds, as HdrHistogram's: bounded size, bounded relative error.

Values below 512 are exact; above, each power of two has 256 buckets, so a value that is told is
never below the true one and at most 1/256 (0.4 %) above it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

BITS = 9
HALF = 1 << (BITS - 1)
EXACT = 1 << BITS
HIGHEST = (1 << 33) - 1
"""The largest value in µs, 2.4 hours; larger ones count as this."""
SIZE = (34 - BITS) * HALF + HALF
ERROR = 1 / HALF

QUANTILES = (0.5, 0.9, 0.99, 0.999, 0.9999)


def index(value: int) -> int:
    """The bucket of a value."""
    if value < EXACT:
        return max(value, 0)
    shift = min(value, HIGHEST).bit_length() - BITS
    return (shift << (BITS - 1)) + (min(value, HIGHEST) >> shift)


def highest(bucket: int) -> int:
    """The largest value of a bucket: what is told for all in it."""
    if bucket < EXACT:
        return bucket
    shift = (bucket >> (BITS - 1)) - 1
    return ((bucket - (shift << (BITS - 1)) + 1) << shift) - 1


class Histogram:
    """Counts by bucket. `counts` is written by the receiving path directly, see client.py."""

    __slots__ = ("counts",)

    def __init__(self, values: Iterable[int] = ()) -> None:
        self.counts = [0] * SIZE
        for value in values:
            self.record(value)

    def record(self, value: int, count: int = 1) -> None:
        """Count a value in µs."""
        self.counts[index(value)] += count

    def merge(self, other: Histogram) -> None:
        """Add all of another's."""
        self.counts = [mine + more for mine, more in zip(self.counts, other.counts, strict=True)]

    @property
    def total(self) -> int:
        """How many values."""
        return sum(self.counts)

    @property
    def max(self) -> int:
        """The largest value, 0 without any."""
        return max((highest(bucket) for bucket, _ in self.filled()), default=0)

    @property
    def mean(self) -> float:
        """The mean, from the buckets' upper ends."""
        total = self.total
        return sum(highest(b) * count for b, count in self.filled()) / total if total else 0.0

    def filled(self) -> Iterator[tuple[int, int]]:
        """Buckets that are not empty, ascending, with their counts."""
        return ((bucket, count) for bucket, count in enumerate(self.counts) if count)

    def quantile(self, q: float) -> int:
        """The smallest value that at least the share `q` of all is not above; 0 without any."""
        return self.quantiles((q,))[0]

    def quantiles(self, wanted: Iterable[float]) -> list[int]:
        """Several at once; `wanted` ascends."""
        total = self.total
        found: list[int] = []
        walk = self.filled()
        reached, value = 0, 0
        for q in wanted:
            while reached < q * total:
                bucket, count = next(walk)
                reached += count
                value = highest(bucket)
            found.append(value)
        return found

    def curve(self) -> list[tuple[float, int]]:
        """`(quantile, µs)` from the least to the greatest, as HdrHistogram's percentile plots.

        Five points for each halving of what is left, up to the quantile that one value makes.
        """
        total = self.total
        if not total:
            return []
        wanted = [0.0]
        left = 1.0
        while left * total > 1:
            wanted += [1 - left * (1 - step / 10) for step in range(1, 6)]
            left /= 2
        wanted = [q for q in wanted if (1 - q) * total >= 1]
        return [*zip(wanted, self.quantiles(wanted), strict=True), (1.0, self.max)]

    def summary(self) -> dict[str, float | int]:
        """What a report shows, in milliseconds."""
        values = self.quantiles(QUANTILES)
        names = ("p50", "p90", "p99", "p99.9", "p99.99")
        return {
            "count": self.total,
            "mean": round(self.mean / 1000, 3),
            **{name: value / 1000 for name, value in zip(names, values, strict=True)},
            "max": self.max / 1000,
        }


class Sink:
    """A histogram of the whole run and one of the present interval, which is `now`."""

    __slots__ = ("now", "whole")

    def __init__(self) -> None:
        self.now = Histogram()
        self.whole = Histogram()

    def roll(self) -> Histogram:
        """End the interval: its histogram, added to the whole."""
        ended, self.now = self.now, Histogram()
        self.whole.merge(ended)
        return ended
