"""Line charts as inline SVG in the colors of the page, so that they are legible light, dark and in print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from laminar.audit_page.markup import Markup, join, number, tag

WIDTH, HEIGHT = 440, 250
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 14, 40


@dataclass(frozen=True)
class Series:
    """One line: a value, or None, at each place of the horizontal axis; `band` its intervals; `color` a, b or c."""

    label: str
    values: Sequence[float | None]
    color: str
    band: Sequence[Sequence[float] | None] | None = None
    dashed: bool = False

    @property
    def points(self) -> list[tuple[int, float]]:
        """Place and value where there is one."""
        return [(i, v) for i, v in enumerate(self.values) if v is not None and math.isfinite(v)]

    @property
    def style(self) -> str:
        return f"line {self.color}{' dashed' * self.dashed}"


@dataclass(frozen=True)
class Level:
    """A horizontal line with its name."""

    value: float
    label: str


def line_chart(
    title: str,
    series: Sequence[Series],
    places: Sequence[str],
    *,
    x_title: str,
    digits: int = 2,
    levels: Sequence[Level] = (),
    zero: bool = False,
    positions: Sequence[float] | None = None,
) -> Markup:
    """A figure: lines over `places`, a legend, and the values as tooltips. `zero` starts the vertical axis at 0.

    The places are evenly spaced, or at rising `positions`, from 0 (left) to 1.
    """
    shown = [line for line in series if line.points]
    last = max(1, len(places) - 1)
    even = [i / last for i in range(len(places))] if len(places) > 1 else [0.5]
    frame = _Frame.around(shown, levels, tuple(even if positions is None else positions), zero)
    drawing = tag(
        "svg",
        frame.axes(places, x_title),
        [frame.level(level, i) for i, level in enumerate(levels)],
        [frame.band(line) for line in shown],
        [frame.line(line, places, digits) for line in shown],
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=title,
    )
    legend = [tag("span", _swatch(line), line.label, class_="key") for line in shown]
    return tag(
        "figure", tag("figcaption", tag("b", title), tag("div", legend, class_="legend")), drawing, class_="chart"
    )


@dataclass(frozen=True)
class _Frame:
    """The scales of a chart: from values to the coordinates of the drawing."""

    low: float
    high: float
    ticks: tuple[float, ...]
    positions: tuple[float, ...]

    @staticmethod
    def around(series: Sequence[Series], levels: Sequence[Level], positions: tuple[float, ...], zero: bool) -> _Frame:
        values = [value for line in series for _, value in line.points]
        values += [end for line in series for pair in line.band or () if pair is not None for end in pair]
        values += [level.value for level in levels] + [0.0] * zero
        low, high = (min(values), max(values)) if values else (0.0, 1.0)
        spare = 0.06 * (high - low) or 0.5
        low, high = low if zero and low == 0 else low - spare, high + spare
        return _Frame(low, high, tuple(_ticks(low, high)), positions)

    def x(self, place: int) -> float:
        return LEFT + 12 + (WIDTH - LEFT - RIGHT - 24) * self.positions[place]

    def y(self, value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (self.high - value) / (self.high - self.low)

    def axes(self, places: Sequence[str], x_title: str) -> Markup:
        named = self._apart()
        return join(
            [_rule(LEFT, self.y(t), WIDTH - RIGHT, "grid") for t in self.ticks],
            [_text(LEFT - 6, self.y(t) + 4, _short(t, self.ticks), "end") for t in self.ticks],
            [_text(self.x(i), HEIGHT - BOTTOM + 17, p, "middle") for i, p in enumerate(places) if i in named],
            _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, x_title, "middle"),
        )

    def _apart(self) -> set[int]:
        """The places whose names do not overlap: at most fourteen."""
        named, last = set[int](), -1.0
        for place, position in enumerate(self.positions):
            if not named or position - last > 1 / 14 - 1e-9:
                named.add(place)
                last = position
        return named

    def level(self, level: Level, index: int) -> Markup:
        """Names stand left and right in turn: two levels can be close to each other."""
        y = self.y(level.value)
        x, anchor = (LEFT + 4, "start") if index % 2 == 0 else (WIDTH - RIGHT, "end")
        return join(_rule(LEFT, y, WIDTH - RIGHT, "level"), _text(x, y - 4, level.label, anchor))

    def band(self, line: Series) -> Markup | None:
        ends = [(i, pair) for i, pair in enumerate(line.band or ()) if pair is not None]
        if len(ends) < 2:
            return None
        there = [f"{self.x(i):.1f},{self.y(pair[1]):.1f}" for i, pair in ends]
        back = [f"{self.x(i):.1f},{self.y(pair[0]):.1f}" for i, pair in reversed(ends)]
        return tag("polygon", points=" ".join(there + back), class_=f"band {line.color}")

    def line(self, line: Series, places: Sequence[str], digits: int) -> Markup:
        path = " ".join(f"{self.x(i):.1f},{self.y(v):.1f}" for i, v in line.points)
        dots = [
            tag(
                "circle",
                tag("title", f"{line.label}, {places[i]}: {v:.{digits}f}"),
                cx=f"{self.x(i):.1f}",
                cy=f"{self.y(v):.1f}",
                r=3,
                class_=f"dot {line.color}",
            )
            for i, v in line.points
        ]
        return join(tag("polyline", points=path, class_=line.style), dots)


def _ticks(low: float, high: float) -> list[float]:
    """Round values inside the range, four to eight of them."""
    raw = (high - low) / 8
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * f for f in (1, 2, 5, 10) if unit * f >= raw)
    first = math.ceil(low / step - 1e-9)
    return [step * i for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _short(value: float, ticks: Sequence[float]) -> str:
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    return number(value, max(0, -math.floor(math.log10(step) + 1e-9)))


def _rule(x1: float, y: float, x2: float, kind: str) -> Markup:
    return tag("line", x1=x1, x2=x2, y1=f"{y:.1f}", y2=f"{y:.1f}", class_=kind)


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return tag("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)


def _swatch(line: Series) -> Markup:
    stroke = tag("line", x1=0, x2=18, y1=5, y2=5, class_=line.style)
    return tag("svg", stroke, viewBox="0 0 18 10", class_="swatch", aria_hidden="true")
