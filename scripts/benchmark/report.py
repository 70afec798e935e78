"""The report of a run: tables in Markdown, everything in JSON, and a plot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from scripts.benchmark import plot
from scripts.benchmark.result import Line, Result
from scripts.benchmark.stats import digits, tell

HEADER = "| what | server | median (lowest-highest) | beside, in the same round | to reach | |\n"
RULE = "|---|---|---|---|---|---|\n"


def markdown(results: Sequence[Result], facts: Mapping[str, str]) -> str:
    """The report to read."""
    parts = ["# Tailrace beside its peers\n"]
    parts.append("".join(f"- {name}: {value}\n" for name, value in facts.items()))
    parts += [_section(result) for result in results]
    return "\n".join(parts)


def _section(result: Result) -> str:
    text = f"## {result.title}\n\n"
    if result.failed is not None:
        # A row that failed shows no figures: they would be quoted.
        return f"{text}**FAILED: {_cell(result.failed)}**\n"
    text += f"{result.method}\n\n{HEADER}{RULE}"
    text += "".join(map(_row, result.lines))
    runs = {line.value.n for line in result.lines}
    notes = [f"runs: {', '.join(map(str, sorted(runs)))}; {result.seconds:.0f} s in all"]
    return text + "\n" + "".join(f"- {note}\n" for note in [*result.notes, *notes])


def _row(line: Line) -> str:
    beside = f"{tell(line.ratio)} × {line.against}" if line.ratio else ""
    mark = {True: "reached", False: "**missed**", None: ""}[line.reached]
    goal = "" if line.goal is None else f"{line.goal}{_unit(line)}"
    cells = (line.what, line.server, f"{tell(line.value)} {line.unit}", beside, goal, mark)
    return f"| {' | '.join(map(_cell, cells))} |\n"


def _unit(line: Line) -> str:
    return " ×" if line.ratio else f" {line.unit}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def as_json(results: Sequence[Result], facts: Mapping[str, str]) -> str:
    """The same for programs."""
    rows = []
    for result in results:
        row = asdict(result)
        row["lines"] = [] if result.failed else [_line(line) for line in result.lines]
        rows.append(row)
    return json.dumps({"facts": dict(facts), "rows": rows}, indent=2, ensure_ascii=False) + "\n"


def _line(line: Line) -> dict[str, object]:
    found: dict[str, object] = asdict(line)
    found["value"] = line.value._asdict()
    found["ratio"] = line.ratio and line.ratio._asdict()
    found["reached"] = line.reached
    return found


def write(folder: Path, results: Sequence[Result], facts: Mapping[str, str]) -> list[Path]:
    """Write `report.md`, `report.json` and, if there is anything to compare, `plot.svg`."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"report.md": markdown(results, facts), "report.json": as_json(results, facts)}
    drawn = plot.svg([result for result in results if result.failed is None])
    if drawn is not None:
        texts["plot.svg"] = drawn
        texts["report.md"] += "\n![The comparisons as bars](plot.svg)\n"
    for name, text in texts.items():
        (folder / name).write_text(text)
    return [folder / name for name in texts]


def summary(result: Result) -> str:
    """A few lines for the terminal."""
    if result.failed is not None:
        return f"  FAILED: {result.failed}\n"
    text = ""
    for line in result.lines:
        beside = f"   {tell(line.ratio)} x {line.against}" if line.ratio else ""
        goal = "" if line.goal is None else f"   {line.goal}"
        mark = {True: " reached", False: " MISSED", None: ""}[line.reached]
        text += f"  {line.server:14} {line.what:38} {tell(line.value)} {line.unit}"
        text += f"{beside}{goal}{mark}\n"
    return text + "".join(f"  - {note}\n" for note in result.notes)


__all__ = ["as_json", "digits", "markdown", "summary", "write"]
