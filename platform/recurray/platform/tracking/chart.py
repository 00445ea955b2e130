"""Line charts as SVG, for the report."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 560, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 24, 12, 34
_MOST_POINTS = 2 * (WIDTH - _LEFT - _RIGHT)

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One figure over the steps."""

    label: str
    points: Sequence[Point]
    """(step, value) in order of steps."""


def draw(lines: Sequence[Line], unit: str) -> str:
    """The chart, or a note where no line has a point."""
    points = [point for line in lines for point in line.points]
    if not points:
        return '<p class="none">nothing logged</p>'
    x_ticks = _ticks(min(x for x, _ in points), max(x for x, _ in points), whole=True)
    y_ticks = _ticks(min(y for _, y in points), max(y for _, y in points), whole=False)
    x_scale = _Scale(x_ticks[0], x_ticks[-1], _LEFT, WIDTH - _RIGHT)
    y_scale = _Scale(y_ticks[0], y_ticks[-1], HEIGHT - _BOTTOM, _TOP)
    labels = html.escape(", ".join(line.label for line in lines))
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{labels}">',
        *(_y_tick(tick, y_scale(tick)) for tick in y_ticks),
        *(_x_tick(tick, x_scale(tick)) for tick in x_ticks),
        f'<text class="axis" x="{WIDTH - _RIGHT}" y="{HEIGHT - 2}" text-anchor="end">step</text>',
        f'<text class="axis" x="{_LEFT}" y="{HEIGHT - 2}">{html.escape(unit)}</text>',
        *(_polyline(line, index, x_scale, y_scale) for index, line in enumerate(lines)),
        "</svg>",
    ]
    return "".join(parts)


@dataclass(frozen=True)
class _Scale:
    """A linear map from values to places in the picture."""

    low: float
    high: float
    begin: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return round(self.begin + share * (self.end - self.begin), 2)


def thin(points: Sequence[Point], most: int = _MOST_POINTS) -> list[Point]:
    """At most about `most` points, with the least and the greatest value of every stretch that is left out."""
    if len(points) <= most:
        return list(points)
    stretch = math.ceil(2 * len(points) / most)
    kept: list[Point] = []
    for begin in range(0, len(points), stretch):
        part = points[begin : begin + stretch]
        extremes = {min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])}
        kept.extend(sorted(extremes))
    return kept


def _polyline(line: Line, index: int, x_scale: _Scale, y_scale: _Scale) -> str:
    points = thin(line.points)
    places = [(x_scale(x), y_scale(y)) for x, y in points]
    path = " ".join(f"{x},{y}" for x, y in places)
    drawn = f'<polyline class="line{index}" points="{path}"/>'
    if len(points) > 60:
        return drawn
    dots = (
        f'<circle class="line{index}" cx="{x}" cy="{y}" r="3"><title>{html.escape(line.label)} {value:.5g} at step '
        f"{step:g}</title></circle>"
        for (x, y), (step, value) in zip(places, points, strict=True)
    )
    return drawn + "".join(dots)


def _x_tick(value: float, x: float) -> str:
    return f'<text class="tick" x="{x}" y="{HEIGHT - _BOTTOM + 15}" text-anchor="middle">{value:,.0f}</text>'


def _y_tick(value: float, y: float) -> str:
    grid = f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
    return f'{grid}<text class="tick" x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{_short(value)}</text>'


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _ticks(low: float, high: float, *, whole: bool) -> list[float]:
    """Round numbers from at most `low` to at least `high`, some five of them."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 5))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= 6)
    step = max(step, 1.0) if whole else step
    first, last = math.floor(low / step), math.ceil(high / step)
    return [index * step for index in range(first, max(last, first + 1) + 1)]
