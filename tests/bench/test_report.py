"""The report and the plot."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

from scripts.benchmark import report
from scripts.benchmark.plot import svg
from scripts.benchmark.result import Goal, Line, Result
from scripts.benchmark.stats import spread

FLOOR = Line("c-send", "one at a time", "µs", spread([5.0, 6.0, 5.5]))
OURS = Line(
    "engine",
    "one at a time",
    "µs",
    spread([7.0, 7.7, 7.1]),
    spread([1.3, 1.4, 1.35]),
    "c-send",
    Goal("at most", 1.25),
)
RESULT = Result("fanout", "Fan-out", "How.", [FLOOR, OURS], ["a note"], seconds=12.4)
FAILED = Result("storm", "Connect storm", "How.", [OURS], failed="MeasureError: lost 3 | of 9")


def test_a_line_tells_figure_spread_ratio_and_goal() -> None:
    text = report.markdown([RESULT], {"machine": "small"})
    assert "- machine: small\n" in text
    assert (
        "| one at a time | engine | 7.10 (7.00-7.70) µs | 1.35 (1.30-1.40) × c-send"
        " | ≤ 1.25 × | **missed** |\n" in text
    )
    assert "| one at a time | c-send | 5.50 (5.00-6.00) µs |  |  |  |\n" in text
    assert "- a note\n- runs: 3; 12 s in all\n" in text


def test_a_row_that_failed_shows_no_figure() -> None:
    text = report.markdown([FAILED], {})
    assert "**FAILED: MeasureError: lost 3 \\| of 9**" in text
    assert "7.10" not in text
    assert json.loads(report.as_json([FAILED], {}))["rows"][0]["lines"] == []


def test_the_json_has_the_numbers() -> None:
    [row] = json.loads(report.as_json([RESULT], {"machine": "small"}))["rows"]
    line = row["lines"][1]
    assert line["value"] == {"median": 7.1, "low": 7.0, "high": 7.7, "n": 3}
    assert line["ratio"]["median"] == 1.35
    assert line["reached"] is False


def test_goals_have_a_side() -> None:
    assert Goal("at most", 2.5).met(2.5)
    assert not Goal("at most", 2.5).met(2.6)
    assert Goal("at least", 0.8).met(0.8)
    assert not Goal("at least", 0.8).met(0.79)


def test_without_a_ratio_the_value_is_judged() -> None:
    line = Line("tailrace", "p99", "ms", spread([9.0, 20.0, 11.0]), goal=Goal("at most", 15))
    assert line.reached is True


def test_the_plot_is_a_picture_with_a_bar_for_each_server() -> None:
    drawn = svg([RESULT])
    assert drawn is not None
    root = ET.fromstring(drawn)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"c-send", "engine", "to reach"} <= set(texts)


def test_there_is_no_plot_of_nothing_to_compare() -> None:
    assert svg([Result("healthz", "Health", lines=[FLOOR])]) is None


def test_what_was_measured_is_written(tmp_path: Path) -> None:
    report.write(tmp_path / "out", [RESULT, FAILED], {})
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "plot.svg",
        "report.json",
        "report.md",
    ]
