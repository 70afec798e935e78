"""Plots as inline SVG: lines over a linear or logarithmic axis, with ticks, units and bands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 520, 270
LEFT, RIGHT, TOP, BOTTOM = 66, 14, 12, 42
TICKS = 5
NINES = ((0.5, "50"), (0.9, "90"), (0.99, "99"), (0.999, "99.9"),
         (0.9999, "99.99"), (0.99999, "99.999"))  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One curve. `tone`: 1 to 4, a colour of the page's."""

    name: str
    points: Sequence[tuple[float, float]]
    tone: int


@dataclass(frozen=True)
class Band:
    """A stretch of time that is marked. `tone`: 1 or 2, a colour of the page's."""

    start: float
    end: float
    name: str
    tone: int = 1


class Axis:
    """Values to the share of the way along, and labels. `low` < `high`."""

    def __init__(self, low: float, high: float, ticks: Sequence[tuple[float, str]]) -> None:
        self.low, self.high = low, high
        self.ticks = [tick for tick in ticks if low <= tick[0] <= high]

    def at(self, value: float) -> float:
        """0 to 1."""
        return (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)


class LogAxis(Axis):
    """The same over the logarithm."""

    def at(self, value: float) -> float:
        low, high = math.log10(self.low), math.log10(self.high)
        return (math.log10(min(max(value, self.low), self.high)) - low) / (high - low)


def linear(high: float, *, low: float = 0.0) -> Axis:
    """From `low` to a round number at or above `high`."""
    span = max(high - low, 1e-9)
    raw = span / TICKS
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= raw * 0.999)
    count = math.ceil(span / step - 1e-9)
    ticks = [(low + n * step, number(low + n * step)) for n in range(count + 1)]
    return Axis(low, low + count * step, ticks)


def logarithmic(values: Sequence[float]) -> Axis:
    """Around all of the values, with ticks at 1, 2 and 5 of each decade."""
    above = [value for value in values if value > 0] or [1.0]
    steps = sorted(f * 10.0**n for n in range(-3, 7) for f in (1, 2, 5))
    low = max((step for step in steps if step <= min(above)), default=steps[0])
    high = min((step for step in steps if step >= max(above) and step > low), default=steps[-1])
    wide = math.log10(high / low) > 2.5
    kept = [step for step in steps if not wide or abs(math.log10(step) % 1) < 1e-6]
    return LogAxis(low, high, [(step, number(step)) for step in kept])


def nines(most: float) -> Axis:
    """Quantiles as halvings of what is left: 50 %, 90 %, 99 % … stand equally far apart."""
    high = max(1.0, min(5.0, most))
    return Axis(0.0, high, [(place(q), f"{name} %") for q, name in NINES])


def place(q: float) -> float:
    """Where a quantile stands on such an axis."""
    return -math.log10(max(1 - q, 1e-9))


def number(value: float) -> str:
    """Short, as an axis shows it."""
    if abs(value) >= 1_000_000:
        return f"{value / 1_000_000:g} M"
    if abs(value) >= 10_000:
        return f"{value / 1_000:g} k"
    return f"{round(value, 6):g}"


def chart(
    title: str,
    lines: Sequence[Line],
    axes: tuple[Axis, Axis],
    labels: tuple[str, str],
    bands: Sequence[Band] = (),
) -> str:
    """A figure with a legend. `labels`: of the axes, with units."""
    x, y = axes
    drawn = [line for line in lines if line.points]
    legend = "".join(f'<span class="key t{ln.tone}">{escape(ln.name)}</span>' for ln in drawn)
    legend += "".join(
        f'<span class="key band b{tone}">{escape(name)}</span>'
        for name, tone in dict.fromkeys((band.name, band.tone) for band in bands)
    )
    body = [_bands(bands, x), _grid(x, y), *(_curve(line, x, y) for line in drawn)]
    return (
        f'<figure><figcaption><h3>{escape(title)}</h3><div class="legend">{legend}</div>'
        f'</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">{"".join(body)}{_labels(*labels)}</svg></figure>'
    )


def _px(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _py(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _grid(x: Axis, y: Axis) -> str:
    parts: list[str] = []
    for value, name in y.ticks:
        at = _py(y.at(value))
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
        )
        parts.append(
            f'<text x="{LEFT - 7}" y="{at + 4:.1f}" text-anchor="end">{escape(name)}</text>'
        )
    base = HEIGHT - BOTTOM
    for value, name in x.ticks:
        at = _px(x.at(value))
        parts.append(
            f'<line class="tick" x1="{at:.1f}" x2="{at:.1f}" y1="{base}" y2="{base + 4}"/>'
        )
        parts.append(
            f'<text x="{at:.1f}" y="{base + 17}" text-anchor="middle">{escape(name)}</text>'
        )
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}"/>')
    return "".join(parts)


def _labels(x: str, y: str) -> str:
    middle = (TOP + HEIGHT - BOTTOM) / 2
    across = (LEFT + WIDTH - RIGHT) / 2
    return (
        f'<text class="label" x="{across:.0f}" y="{HEIGHT - 6}" text-anchor="middle">'
        f"{escape(x)}</text>"
        f'<text class="label" transform="translate(13 {middle:.0f}) rotate(-90)" '
        f'text-anchor="middle">{escape(y)}</text>'
    )


def _bands(bands: Sequence[Band], x: Axis) -> str:
    return "".join(
        f'<rect class="band b{b.tone}" x="{_px(x.at(b.start)):.1f}" y="{TOP}" '
        f'width="{max(1.0, _px(x.at(b.end)) - _px(x.at(b.start))):.1f}" '
        f'height="{HEIGHT - TOP - BOTTOM}"><title>{escape(b.name)}</title></rect>'
        for b in bands
    )


def _curve(line: Line, x: Axis, y: Axis) -> str:
    points = " ".join(f"{_px(x.at(a)):.1f},{_py(y.at(b)):.1f}" for a, b in line.points)
    return (
        f'<polyline class="line t{line.tone}" points="{points}"><title>{escape(line.name)}</title>'
        "</polyline>"
    )
