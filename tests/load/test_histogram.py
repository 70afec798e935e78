from __future__ import annotations

import random

import pytest

from scripts.load.histogram import ERROR, EXACT, HIGHEST, SIZE, Histogram, Sink, highest, index


def test_every_value_is_told_within_the_error_and_never_too_small() -> None:
    dice = random.Random(3)
    values = [
        *range(5_000),
        HIGHEST,
        *(dice.randrange(1 << dice.randrange(1, 34)) for _ in range(20_000)),
    ]
    for value in values:
        told = highest(index(value))
        assert value <= told <= value * (1 + ERROR), value
        if value < EXACT:
            assert told == value


def test_buckets_follow_each_other() -> None:
    ends = [highest(bucket) for bucket in range(SIZE)]
    assert ends == sorted(set(ends))
    assert [index(end) for end in ends] == list(range(SIZE))
    assert index(HIGHEST + 1) == index(HIGHEST) == index(HIGHEST * 1000)
    assert index(-5) == 0


@pytest.mark.parametrize("count", [1, 2, 7, 1_000, 12_345])
def test_quantiles_are_those_of_the_sorted_values(count: int) -> None:
    dice = random.Random(count)
    values = sorted(int(dice.lognormvariate(8, 2)) for _ in range(count))
    histogram = Histogram(values)
    for q in (0.0, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0):
        rank = max(0, -(-int(q * count * 10**9) // 10**9) - 1)
        true = values[rank]
        if q > 0:
            assert true <= histogram.quantile(q) <= true * (1 + ERROR) + 1
    assert histogram.total == count
    assert values[-1] <= histogram.max <= values[-1] * (1 + ERROR)
    assert histogram.mean == pytest.approx(sum(values) / count, rel=ERROR, abs=1)


def test_a_merge_is_as_if_all_had_been_recorded_in_one() -> None:
    dice = random.Random(1)
    one, other = ([dice.randrange(10**6) for _ in range(500)] for _ in range(2))
    merged = Histogram(one)
    merged.merge(Histogram(other))
    assert merged.counts == Histogram(one + other).counts


def test_nothing_recorded_is_zero_everywhere() -> None:
    empty = Histogram()
    assert empty.summary() == dict.fromkeys(
        ("count", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"), 0
    )
    assert empty.curve() == []


def test_a_curve_ascends_from_the_least_to_the_greatest() -> None:
    curve = Histogram(range(10_000)).curve()
    assert curve == sorted(curve)
    assert curve[-1] == (1.0, Histogram([9_999]).max)
    # No point claims more than the values can tell.
    assert curve[-2][0] <= 1 - 1 / 10_000


def test_an_interval_ends_in_the_whole() -> None:
    sink = Sink()
    sink.now.record(5)
    assert sink.roll().total == 1
    sink.now.record(7, 3)
    assert sink.roll().max == 7
    assert (sink.whole.total, sink.now.total) == (4, 0)
