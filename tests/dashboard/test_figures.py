"""What the overview makes of `ops.metrics`, without a browser."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from server.dashboard.page import STATIC

AT = 1_800_000_000_000
"""A full second, in ms."""
RUN = f"""
import {{ createFigures }} from "{(STATIC / "lib" / "figures.js").as_uri()}";
const [notes, reads] = JSON.parse(process.argv[1]);
const figures = createFigures();
for (const [after, data] of notes) figures.note(data, {AT} + after);
console.log(JSON.stringify(reads.map(([after, chosen]) => figures.read({AT} + after, chosen))));
"""

Note = tuple[int, object]


def read(node: str, notes: list[Note], *reads: tuple[int, str]) -> Any:
    """What is read after the notes; times are ms after `AT`."""
    arguments = [node, "--input-type=module", "-e", RUN, json.dumps([notes, reads])]
    return json.loads(subprocess.run(arguments, check=True, capture_output=True).stdout)


def told(process: str, **more: object) -> dict[str, object]:
    return {"process": process, "clients": 1, "uptime": 1.0} | more


def last(found: Any, name: str, number: int) -> list[float | None]:
    return list(found["lines"][name][-number:])


def test_all_together_are_a_sum_or_the_slowest_and_one_is_itself(node: str) -> None:
    one = told("a", events_per_second=9.5, latency={"p50": 2.0, "p99": 3.0}, memory=10)
    one |= {"lagging": 2, "deliveries_per_second": 3, "bytes_per_second": 7, "cpu": 0.25}
    one |= {"gauges": {"uploads_running": 1}, "rates": {"upload_bytes": 100.0}}
    other = told("b", events_per_second=10, latency=None, memory=20, uptime=5)
    other |= {"lagging": 3, "deliveries_per_second": 4, "bytes_per_second": 8, "cpu": 0.5}
    other["gauges"] = {"uploads_running": 5}
    other["rates"] = {"webhooks": {"done": 2.0}, "upload_bytes": 20.0}
    notes: list[Note] = [(100, one), (200, other), (300, "rubbish"), (300, {"process": "c"})]
    both, alone = read(node, notes, (900, ""), (900, "b"))
    names = ("clients", "events", "p50", "p99", "memory", "done", "dead")
    assert [last(both, name, 1)[0] for name in names] == [2, 10, 2, 3, 30, 2, None]
    assert [last(alone, name, 1)[0] for name in names] == [1, 10, None, None, 20, 2, None]
    more = ("lagging", "deliveries", "written", "cpu", "running", "uploaded")
    assert [last(both, name, 1)[0] for name in more] == [5, 7, 15, 0.75, 6, 120]
    assert [last(alone, name, 1)[0] for name in more] == [3, 4, 8, 0.5, 5, 20]
    assert [data["process"] for data in both["processes"]] == ["b", "a"]


def test_a_process_that_is_silent_is_left_out_after_four_seconds(node: str) -> None:
    found = read(node, [(0, told("a"))], (3_900, ""), (5_000, ""), (5_000, "a"))
    assert [len(item["processes"]) for item in found] == [1, 0, 0]
    assert last(found[0], "clients", 5) == [None, 1, 1, 1, 1]
    assert last(found[1], "clients", 6) == [1, 1, 1, 1, None, None]


def test_reports_that_come_a_little_early_or_late_leave_no_hole_and_are_not_doubled(
    node: str,
) -> None:
    notes: list[Note] = [
        (after, told("a", clients=number))
        for number, after in enumerate((0, 1_010, 1_990, 3_000, 3_990, 4_020), 1)
    ]
    (found,) = read(node, notes, (5_500, ""))
    assert last(found, "clients", 6) == [1, 2, 3, 4, 6, 6]


def test_what_is_older_than_the_plot_is_forgotten(node: str) -> None:
    notes: list[Note] = [(second * 1_000, told("a", clients=second)) for second in range(400)]
    notes += [(400_000, told(f"p{number}")) for number in range(150)]
    (found,) = read(node, notes, (400_500, ""))
    assert len(found["times"]) == len(found["lines"]["clients"]) == 181
    assert len(found["processes"]) == 100
