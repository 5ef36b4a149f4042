"""Small SVG plots for reports: bars, and lines over a number. No library: a report's plots must not be a dependency of a gateway."""

import math
from collections.abc import Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT = 720, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 40, 48
_COLOURS = ("#1f6feb", "#d29922", "#3fb950", "#f85149", "#a371f7", "#6e7781", "#db61a2", "#0598bc")
Point = tuple[float, float]


def lines(title: str, across: str, up: str, series: Mapping[str, Sequence[Point]], *, log_y: bool = False) -> str:
    """One line for each name; points in the order of their first number. nan is left out."""
    kept = {name: [point for point in points if not math.isnan(point[1])] for name, points in series.items()}
    every = [point for points in kept.values() for point in points] or [(0.0, 0.0)]
    x_low, x_high = min(x for x, _ in every), max(x for x, _ in every)
    y_scale = _Scale.over([y for _, y in every], log=log_y)
    parts = [_frame(title, across, up, y_scale)]
    span = (x_high - x_low) or 1.0
    for tick in _ticks(x_low, x_high):
        at = _LEFT + (tick - x_low) / span * (_WIDTH - _LEFT - _RIGHT)
        parts.append(_text(at, _HEIGHT - _BOTTOM + 16, f"{tick:g}", "middle"))
    for number, (name, points) in enumerate(kept.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        drawn = " ".join(f"{_LEFT + (x - x_low) / span * (_WIDTH - _LEFT - _RIGHT):.1f},{y_scale.at(y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(_legend(number, name, colour))
    return _svg(title, parts)


def bars(title: str, up: str, values: Mapping[str, tuple[float, float]]) -> str:
    """A bar for each name: its value, and half the width of its interval."""
    scale = _Scale.over([0.0, *(value + half for value, half in values.values() if not math.isnan(value))], log=False)
    parts = [_frame(title, "", up, scale)]
    room = (_WIDTH - _LEFT - _RIGHT) / max(1, len(values))
    for number, (name, (value, half)) in enumerate(values.items()):
        if math.isnan(value):
            continue
        x, top = _LEFT + room * (number + 0.15), scale.at(value)
        colour = _COLOURS[number % len(_COLOURS)]
        parts.append(f'<rect x="{x:.1f}" y="{top:.1f}" width="{room * 0.7:.1f}" height="{scale.at(0.0) - top:.1f}" fill="{colour}"/>')
        middle = x + room * 0.35
        if half:
            low, high = scale.at(value - half), scale.at(value + half)
            parts.append(f'<path d="M{middle:.1f} {low:.1f}V{high:.1f}" stroke="currentColor" stroke-width="1.5"/>')
        parts.append(_text(middle, scale.at(value + half) - 4, f"{value:.3g}", "middle"))
        # Long names: every other one a line lower.
        parts.append(_text(middle, _HEIGHT - _BOTTOM + 16 + 14 * (number % 2), name, "middle"))
    return _svg(title, parts)


class _Scale:
    """Values to heights."""

    def __init__(self, low: float, high: float, *, log: bool) -> None:
        self.low, self.high, self.log = low, high, log

    @classmethod
    def over(cls, values: Sequence[float], *, log: bool) -> "_Scale":
        if log:
            positive = [value for value in values if value > 0] or [1.0]
            return cls(10 ** math.floor(math.log10(min(positive))), 10 ** math.ceil(math.log10(max(positive)) + 1e-9), log=True)
        high = max(values)
        return cls(min(0.0, *values), high * 1.1 if high > 0 else 1.0, log=False)

    def at(self, value: float) -> float:
        if self.log:
            value = max(value, self.low)
            part = (math.log10(value) - math.log10(self.low)) / ((math.log10(self.high) - math.log10(self.low)) or 1.0)
        else:
            part = (value - self.low) / ((self.high - self.low) or 1.0)
        return _HEIGHT - _BOTTOM - part * (_HEIGHT - _TOP - _BOTTOM)

    def ticks(self) -> list[float]:
        if not self.log:
            return _ticks(self.low, self.high)
        return [10.0**power for power in range(round(math.log10(self.low)), round(math.log10(self.high)) + 1)]


def _ticks(low: float, high: float) -> list[float]:
    span = high - low
    if span <= 0:
        return [low]
    step = 10 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 6)
    return [step * number for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _frame(title: str, across: str, up: str, scale: _Scale) -> str:
    rules = []
    for tick in scale.ticks():
        y = scale.at(tick)
        rules.append(
            f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#8888" stroke-width="0.5"/>'
            + _text(_LEFT - 6, y + 4, f"{tick:g}", "end")
        )
    return (
        f'<text x="{_LEFT}" y="16" font-weight="bold">{escape(title)}</text>'
        + _text(_WIDTH - _RIGHT, 16, up, "end")
        + _text(_WIDTH / 2, _HEIGHT - 8, across, "middle")
        + "".join(rules)
    )


def _legend(number: int, name: str, colour: str) -> str:
    x = _LEFT + 110 * number
    return f'<rect x="{x}" y="{_TOP - 16}" width="10" height="10" fill="{colour}"/>' + _text(x + 14, _TOP - 7, name, "start")


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title, quote=True)}"'
        ' font-family="system-ui, sans-serif" font-size="11" fill="currentColor" color="#57606a">'
        '<rect width="100%" height="100%" fill="#fff"/>' + "".join(parts) + "</svg>\n"
    )
