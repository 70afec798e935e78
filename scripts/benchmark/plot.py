"""The plot: horizontal bars with their spread, one panel for each thing that servers share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from scripts.benchmark.result import Line, Result
from scripts.benchmark.stats import digits, tell

WIDTH, LEFT, RIGHT = 760, 130, 190
BAR, GAP, TOP, BOTTOM = 18, 8, 44, 26
OURS = {"engine", "tailrace"}
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#1f2933;"
    "paint-order:stroke;stroke:#fff;stroke-width:3px}.t{font-weight:600;font-size:13px}"
    ".n{fill:#52606d}.a{stroke:#9aa5b1}.g{stroke:#b44d12;stroke-dasharray:4 3}.w{stroke:#1f2933}"
)


def svg(results: Sequence[Result]) -> str | None:
    """A picture of every comparison of at least two servers; `None` if there is none."""
    panels = []
    for result in results:
        for what in dict.fromkeys(line.what for line in result.lines):
            lines = [line for line in result.lines if line.what == what]
            if len(lines) > 1:
                panels.append((f"{result.title}: {what}, {lines[0].unit}".replace("`", ""), lines))
    if not panels:
        return None
    at, parts = 0.0, []
    for title, lines in panels:
        parts.append(f'<g transform="translate(0 {at:g})">{_panel(title, lines)}</g>')
        at += TOP + len(lines) * (BAR + GAP) + BOTTOM
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {at:g}" role="img"'
        ' aria-label="Figures of each server with their spread">'
        f'<style>{STYLE}</style><rect width="100%" height="100%" fill="#fff"/>'
        f"{''.join(parts)}</svg>\n"
    )


class Scale:
    """Value to x: linear from zero, or logarithmic when the largest would hide the others."""

    def __init__(self, lines: Sequence[Line]) -> None:
        lows = [line.value.low for line in lines if line.value.low > 0]
        self.goals = {found for line in lines if (found := _limit(line, lines)) is not None}
        self.high = max(*(line.value.high for line in lines), *self.goals, 0) or 1.0
        self.low = min([*lows, *self.goals], default=self.high) / 1.5
        self.log = self.high / self.low > 12

    def x(self, value: float) -> float:
        """Where a value is drawn."""
        if self.log:
            value = max(value, self.low)
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = value / self.high
        return LEFT + share * (WIDTH - LEFT - RIGHT)


def _panel(title: str, lines: Sequence[Line]) -> str:
    scale = Scale(lines)
    how = " (logarithmic)" if scale.log else ""
    parts = [f'<text class="t" x="12" y="26">{escape(title)}{how}</text>']
    for number, line in enumerate(lines):
        parts.append(_bar(scale, line, TOP + number * (BAR + GAP)))
    bottom = TOP + len(lines) * (BAR + GAP)
    parts.append(_line("a", LEFT, TOP - 4, LEFT, bottom))
    parts += [_goal(scale.x(limit), bottom) for limit in scale.goals]
    return "".join(parts)


def _bar(scale: Scale, line: Line, y: float) -> str:
    color = "#2f6f9f" if line.server in OURS else "#cbd2d9"
    low, middle, high = (scale.x(value) for value in (line.value.low, *_rest(line)))
    center = y + BAR / 2
    return (
        f'<text x="{LEFT - 8}" y="{y + 13:g}" text-anchor="end">{escape(line.server)}</text>'
        f'<rect x="{LEFT}" y="{y:g}" width="{max(1, middle - LEFT):.1f}" height="{BAR}"'
        f' fill="{color}"/>'
        + _line("w", low, center, high, center)
        + f'<text class="n" x="{high + 8:.1f}" y="{y + 13:g}">{escape(_told(line))}</text>'
    )


def _rest(line: Line) -> tuple[float, float]:
    return line.value.median, line.value.high


def _told(line: Line) -> str:
    return tell(line.value) + (f", {digits(line.ratio.median)} ×" if line.ratio else "")


def _limit(line: Line, lines: Sequence[Line]) -> float | None:
    """Where a line's goal stands; one of a ratio at so many times its basis' median."""
    if line.goal is None:
        return None
    if line.ratio is None:
        return line.goal.limit
    basis = [other.value.median for other in lines if other.server == line.against]
    return line.goal.limit * basis[0] if basis else None


def _goal(x: float, bottom: float) -> str:
    label = f'<text class="n" x="{x:.1f}" y="{bottom + 14:g}" text-anchor="middle">to reach</text>'
    return _line("g", x, TOP - 4, x, bottom) + label


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:g}" x2="{x2:.1f}" y2="{y2:g}"/>'
