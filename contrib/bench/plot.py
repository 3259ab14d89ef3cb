"""A drawing (SVG) of what a second snapshot costs, with logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

COLORS = ("#1b6ca8", "#c8553d", "#2e8b57", "#8a4fbf", "#b8860b")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 460, 340, 62, 30, 40, 44

Series = dict[str, Sequence[tuple[float, float]]]
"""Shape: name of a line -> its points (x, seconds), with x and seconds above 0."""


def drawing(panels: list[tuple[str, str, Series]]) -> str:
    """Return the drawing of some panels (title, what the x axis counts, lines) next to each other."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH * len(panels)}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for number, (title, counted, series) in enumerate(panels):
        parts.append(f'<g transform="translate({WIDTH * number} 0)">')
        parts += _panel(title, counted, series)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>\n"])


def _panel(title: str, counted: str, series: Series) -> list[str]:
    points = [point for line in series.values() for point in line]
    parts = [f'<text x="{LEFT}" y="20" font-size="13">{title}</text>']
    if not points:
        return [*parts, f'<text x="{LEFT}" y="60">nothing was measured</text>']
    across = _Axis([x for x, _ in points], LEFT, WIDTH - RIGHT)
    upward = _Axis([y for _, y in points], HEIGHT - BOTTOM, TOP)
    for tick in across.ticks():
        x = across.place(tick)
        parts.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{tick:,.0f}</text>')
    for tick in upward.ticks():
        y = upward.place(tick)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g} s</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{counted}</text>')
    for i, (name, line) in enumerate(sorted(series.items())):
        color = COLORS[i % len(COLORS)]
        where = [(across.place(x), upward.place(y)) for x, y in sorted(line)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in where)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in where]
        parts.append(f'<text x="{LEFT + 10}" y="{TOP + 14 + 16 * i}" fill="{color}">{name}</text>')
    return parts


class _Axis:
    """Maps values to places, with whole powers of ten at both ends."""

    def __init__(self, values: list[float], start: float, end: float) -> None:
        self.low = math.floor(math.log10(min(values)))
        self.high = max(math.ceil(math.log10(max(values))), self.low + 1)
        self.start, self.end = start, end

    def place(self, value: float) -> float:
        return self.start + (math.log10(value) - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        return [10.0**power for power in range(self.low, self.high + 1)]
