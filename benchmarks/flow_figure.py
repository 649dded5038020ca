"""The picture of docs/theory.md: a conditional flow with a noisy source, and what is left of it without noise.

    python -m benchmarks.flow_figure        writes docs/images/flow.png

One real pixel with two likely values, measured once through noise; every line is computed from the exact posterior.
"""

from __future__ import annotations

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.record import RESULTS
from laminar.flow import EULER, integrate, uniform_schedule
from laminar.theory import Mixture

PATH = RESULTS.parent / "docs" / "images" / "flow.png"
INK, QUIET, FLOW, STEPS, MEAN = "#1f2328", "#6e7781", "#0969da", "#bc4c00", "#8250df"
TAU, SOURCE = 0.8, 1.0


def posterior() -> Mixture:
    """Two values of the pixel, -1 and 1, seen once as y = 0.25 with noise of standard deviation 0.9."""
    prior = Mixture(
        torch.tensor([0.5, 0.5]).double(),
        torch.tensor([[-1.0], [1.0]]).double(),
        torch.full((2, 1, 1), 0.15**2).double(),
    )
    return prior.given(torch.ones(1, 1).double(), torch.tensor([0.25]).double(), 0.9)


def draw(axes: object, source: Tensor, tau: float, title: str) -> None:
    """Flow lines, four Euler steps, and the densities at both ends."""
    world, start = posterior(), torch.tensor([SOURCE]).double()
    mean = float((world.weights[:, None] * world.means).sum())
    endpoint = lambda x, t: world.denoised(x, t, source=start, tau=tau)  # noqa: E731
    velocity = lambda x, t: (x - endpoint(x, t)) / t  # noqa: E731
    if tau == 0:
        velocity = lambda x, t: (x - mean) / t  # noqa: E731
    fine = torch.linspace(1, 0, 400).double()
    lines = integrate(velocity, source, fine, last_euler=True).stacked()[..., 0]
    steps = integrate(velocity, source[::6], uniform_schedule(4), EULER).stacked()[..., 0]
    axes.plot(fine, lines, color=FLOW, lw=0.8, alpha=0.55)  # type: ignore[attr-defined]
    axes.plot(torch.tensor(uniform_schedule(4)), steps, color=STEPS, lw=1.3, marker="o", ms=3.2)  # type: ignore[attr-defined]
    axes.axhline(mean, color=MEAN, lw=1, ls=(0, (4, 3)))  # type: ignore[attr-defined]
    if tau == 0:
        axes.text(0.985, mean - 0.28, "posterior mean", color=MEAN, fontsize=9)  # type: ignore[attr-defined]
    grid = torch.linspace(-2.4, 3.4, 600).double()
    density = sum(
        weight * torch.exp(-((grid - float(m)) ** 2) / (2 * float(c))) / float(c) ** 0.5
        for weight, m, c in zip(world.weights, world.means[:, 0], world.covariances[:, 0, 0], strict=True)
    )
    axes.fill_betweenx(grid, 0, -0.13 * density / density.max(), color=FLOW, alpha=0.35, lw=0)  # type: ignore[attr-defined]
    axes.text(0.0, 1.65, "p(x₀ | y)", color=FLOW, fontsize=9, ha="left")  # type: ignore[attr-defined]
    axes.set(
        xlim=(1.04, -0.16), ylim=(-1.75, 3.0), xlabel="time t", xticks=[1, 0.75, 0.5, 0.25, 0], yticks=[-1, 0, 1, 2]
    )  # type: ignore[attr-defined]
    axes.set_title(title, fontsize=10, color=INK, loc="left")  # type: ignore[attr-defined]
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)  # type: ignore[attr-defined]
    axes.tick_params(colors=QUIET, labelsize=8)  # type: ignore[attr-defined]


def main() -> None:
    figure = Figure((9.6, 3.9), dpi=150, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    quantiles = (torch.arange(31) + 0.5) / 31
    noise = torch.erfinv(2 * quantiles - 1).double() * 2**0.5
    draw(left, SOURCE + TAU * noise[:, None], TAU, "a noisy source: the flow samples the posterior")
    draw(right, torch.full((1, 1), SOURCE).double(), 0.0, "a source without noise: a line to the posterior mean")
    left.set_ylabel("pixel value")
    left.text(1.02, -1.25, "source x₁", fontsize=9, color=QUIET)
    right.text(1.02, SOURCE + 0.12, "x₁", fontsize=9, color=QUIET)
    figure.savefig(PATH, metadata={"Software": None})
    print(PATH.relative_to(RESULTS.parent))


if __name__ == "__main__":
    main()
