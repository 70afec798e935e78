"""Medians, spreads and ratios."""

import pytest

from scripts.benchmark.stats import Spread, digits, ratios, spread, tell


def test_a_spread_is_the_median_and_the_extremes() -> None:
    assert spread([3.0, 1.0, 10.0]) == Spread(3.0, 1.0, 10.0, 3)


def test_nothing_has_no_spread() -> None:
    with pytest.raises(ValueError, match="no run"):
        spread([])


def test_ratios_are_taken_inside_each_round() -> None:
    # The machine slowed down threefold in the second round: the ratio does not see it.
    assert ratios([2.0, 6.0], [1.0, 3.0]) == [2.0, 2.0]


def test_runs_of_different_rounds_are_not_compared() -> None:
    with pytest.raises(ValueError, match="2 runs"):
        ratios([1.0, 2.0], [1.0])


def test_a_run_that_measured_nothing_is_no_basis() -> None:
    with pytest.raises(ValueError, match="measured nothing"):
        ratios([1.0], [0.0])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.456, "0.46"),
        (1.374, "1.37"),
        (12.34, "12.3"),
        (456.7, "457"),
        (12_345, "12,300"),
        (999_999, "1,000,000"),
    ],
)
def test_three_digits_are_told(value: float, text: str) -> None:
    assert digits(value) == text


def test_one_run_is_told_without_a_spread() -> None:
    assert tell(spread([1.5])) == "1.50"
    assert tell(spread([1.5, 2.5, 1.0])) == "1.50 (1.00-2.50)"
