"""Curves over steps on one page, drawn without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from laminar.figures.pixels import PLAIN, check_drawable
from laminar.figures.sheet import BACKGROUND, INK, QUIET
from laminar.files import replacing


def curves_figure(curves: Mapping[str, Sequence[tuple[int, float]]], label: str, path: Path) -> None:
    """Draw named curves of (step, value) into a PNG. Raises MissingExtraError without matplotlib."""
    check_drawable()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure((9, 5), dpi=120, facecolor=BACKGROUND, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(facecolor=BACKGROUND)
    for name, points in curves.items():
        if points:
            axes.plot(*zip(*points, strict=True), label=name.replace("$", r"\$"), marker=".")
    axes.ticklabel_format(useOffset=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("step", color=INK)
    axes.set_ylabel(label, color=INK)
    axes.tick_params(colors=QUIET)
    axes.grid(color=QUIET, alpha=0.2)
    axes.legend(facecolor=BACKGROUND, edgecolor=QUIET, labelcolor=INK)
    for spine in axes.spines.values():
        spine.set_color(QUIET)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", metadata=PLAIN)
