r"""The data steps: every way in which a cascade brings in the data is one object of `DATA_STEPS`.

A cascade goes from `t_{k+1}` to `t_k` with the relative step `h = (t_{k+1} - t_k) / t_{k+1}`. It asks a denoiser
`D(x) = x - R(x)` for the image and brings in the data. The one dimensionless number of a data step is
`w = sigma^2 / nu^2`: noise variance over the variance of the image given the state, both per complex sample.

All that is particular to a data step stands in its object, by whose fields the network, its coefficients, its settings
and the audit go; the table in docs/theory.md is made from them.

Sources: arXiv 2512.03020 (FLAT), 2004.06688 (E2E-VarNet), 1712.02862 (MoDL), 1704.02422 (hard and soft replacement),
1706.07929 (ISTA-Net), 1705.06869 (ADMM-Net), 2303.05754 (DDS).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from laminar.flow.path import per_entry, relative_steps


class DataTerm(Protocol):
    """`||A x - y||^2 / 2` as the data steps know it."""

    def gradient(self, x: Tensor) -> Tensor:
        """`A^H (A x - y)`."""
        ...

    def proximal(self, center: Tensor, weight: Tensor) -> Tensor:
        """`(A^H A + w I)^(-1) (A^H y + w center)`."""
        ...


Denoiser = Callable[[Tensor], Tensor]
ClosedForm = Callable[[Tensor, Tensor], Tensor]
Map = Callable[[Tensor, Tensor, DataTerm], Tensor]


@dataclass(frozen=True)
class DataStep:
    """One way to bring the data into a cascade.

    `coefficient(h, w)` is the closed form of its data coefficient c, `ratio(h, c)` the inverse. One cascade is

        x0_hat = endpoint(D(x), c, data),  x <- (1 - h) x + h x0_hat

    for the endpoint steps, which estimate the image and then step: they have a velocity `(x - x0_hat) / t` at every
    time, and no h in their closed form. It is for all others

        r = seen(x, c, data),  z = (1 - h) r + h D(r),  x <- corrected(z, x, c, data)

    * `last` takes its place in the last cascade, where h = 1, if its own closed form is zero or infinite there.
    * `absolute`: its steps are `|delta_k|` in place of h, its ratio is `sigma^2` itself; only the flow has such.
    * `solves`: it solves a regularized system with `A^H A`.
    * `constant`: c depends on nothing, so that there is nothing to learn.
    * `raw`: free, c itself is the parameter; otherwise log w is, and c the closed form at h = 1, always positive.
    * `free_step`: free, lam_k is a parameter too. In most forms it would only rescale the regularizer.
    * `update`, `formula` and `reading` say the same in LaTeX and words.
    """

    name: str
    coefficient: ClosedForm
    ratio: ClosedForm
    update: str
    formula: str
    reading: str
    endpoint: Map | None = None
    seen: Map = lambda x, c, data: x
    corrected: Callable[[Tensor, Tensor, Tensor, DataTerm], Tensor] = lambda z, x, c, data: z
    last: DataStep | None = None
    absolute: bool = False
    solves: bool = False
    constant: bool = False
    raw: bool = False
    free_step: bool = False

    @property
    def final(self) -> DataStep:
        """The data step of the last cascade."""
        return self.last or self

    @property
    def knows_width(self) -> bool:
        """Whether its closed form depends on the prior width nu."""
        return not (self.absolute or self.constant)

    def steps(self, times: Tensor) -> Tensor:
        """The steps (N,) between times (N + 1,): `h_k = |delta_k| / t_{k+1}`, or `|delta_k|` if absolute."""
        return times[:-1] - times[1:] if self.absolute else relative_steps(times)

    def coefficients(self, steps: Tensor, ratio: Tensor) -> Tensor:
        """Coefficients (N, ...) from `steps` (N,) and the ratios `w_k` (N, ...), in order of execution."""
        h = steps.view(-1, *[1] * (ratio.ndim - 1))
        return torch.cat([self.coefficient(h[:-1], ratio[:-1]), self.final.coefficient(h[-1:], ratio[-1:])])

    def ratios(self, steps: Tensor, data: Tensor) -> Tensor:
        """The inverse of `coefficients` in its last argument; constant ones give the limits 0 and infinity."""
        h = steps.view(-1, *[1] * (data.ndim - 1))
        return torch.cat([self.ratio(h[:-1], data[:-1]), self.final.ratio(h[-1:], data[-1:])])

    def advance(
        self, x: Tensor, denoise: Denoiser, step: Tensor, c: Tensor, data: DataTerm, relative: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The state after a cascade from `x` (batch, y, x), and the image `x0_hat` that it aimed at.

        `step` is that of the update and `c` (batch,) its data coefficient. Without an endpoint of its own, a cascade
        aims at `x + (after - x) / h` with the `relative` step h; at h = 0, where it aims at nothing, that is x itself.
        """
        c = per_entry(c, x)
        if self.endpoint:
            aim = self.endpoint(denoise(x), c, data)
            return (1 - step) * x + step * aim, aim
        seen = self.seen(x, c, data)
        after = self.corrected((1 - step) * seen + step * denoise(seen), x, c, data)
        return after, x + (after - x) / relative.masked_fill(relative == 0, torch.inf)

    def __reduce__(self) -> tuple[Any, ...]:
        return _named, (self.name,)  # copies and pickles are the one object


def _named(name: str) -> DataStep:
    return DATA_STEPS[name]


_PROXIMAL = DataStep(
    "proximal",
    solves=True,
    coefficient=lambda h, w: w,
    ratio=lambda h, c: c,
    endpoint=lambda denoised, c, data: data.proximal(denoised, c),
    update=r"\hat x_0 = (A^HA + c)^{-1}(A^Hy + c\,D(x)),\quad x \leftarrow (1-h)x + h \hat x_0",
    formula=r"c = w",
    reading="if the source does not depend on y: the exact conditional mean for a Gaussian image of scalar variance; "
    "then explicit Euler. MoDL is h = 1, DDS follows with a DDIM step",
)
_IMEX = DataStep(
    "imex",
    solves=True,
    coefficient=lambda h, w: w / h,
    ratio=lambda h, c: c * h,
    corrected=lambda z, x, c, data: data.proximal(z, c),
    update=r"x \leftarrow (A^HA + c)^{-1}(A^Hy + c\,[(1-h)x + hD(x)])",
    formula=r"c = w/h",
    reading="explicit Euler on the prior, backward Euler on the data",
)
_GRADIENT_ENDPOINT = DataStep(
    "gradient_endpoint",
    coefficient=lambda h, w: 1 / (1 + w),
    ratio=lambda h, c: 1 / c - 1,
    endpoint=lambda denoised, c, data: denoised - c * data.gradient(denoised),
    update=r"\hat x_0 = D(x) - c\,A^H(A D(x) - y),\quad x \leftarrow (1-h)x + h \hat x_0",
    formula=r"c = 1/(1+w)",
    reading="the proximal row with one gradient step; equal to it where the singular values of A are 0 and 1",
)
_GRADIENT = DataStep(
    "gradient",
    coefficient=lambda h, w: h / w,
    ratio=lambda h, c: h / c,
    corrected=lambda z, x, c, data: z - c * data.gradient(x),
    raw=True,
    free_step=True,
    update=r"x \leftarrow x - c\,A^H(Ax - y) - h\,R(x)",
    formula=r"c = h/w",
    reading="forward-forward splitting, the form of E2E-VarNet in the image domain; stable only for small c",
)
_PAPER = replace(
    _GRADIENT,
    name="paper",
    absolute=True,
    update=r"x \leftarrow x - c\,A^H(Ax - y) - \lvert\delta\rvert\,R(x)",
    formula=r"c = \lvert\delta\rvert/\sigma^2",
    reading="explicit Euler of a gradient flow to the MAP estimate, the form of FLAT's paper; not scale-free",
)
_SOFT = DataStep(
    "soft",
    coefficient=lambda h, w: h / (h + w),
    ratio=lambda h, c: h * (1 - c) / c,
    corrected=lambda z, x, c, data: z - c * data.gradient(z),
    update=r"z = (1-h)x + hD(x),\quad x \leftarrow z - c\,A^H(Az - y)",
    formula=r"c = v/(1+v),\ v = h/w",
    reading="a single coil: backward Euler on the data, sampled k become (k + v y)/(1 + v); several coils: a gradient "
    "step",
)
_HARD = replace(
    _SOFT,
    name="hard",
    coefficient=lambda h, w: torch.ones_like(h * w),
    ratio=lambda h, c: torch.zeros_like(h * c),
    constant=True,
    formula=r"c = 1",
    reading="the limit of no noise; a single coil: sampled k are replaced by y",
)
_LAST_ISTA = DataStep(
    "ista",
    coefficient=_GRADIENT_ENDPOINT.coefficient,
    ratio=_GRADIENT_ENDPOINT.ratio,
    seen=lambda x, c, data: x - c * data.gradient(x),
    raw=True,
    update=r"r = x - c\,A^H(Ax - y),\quad x \leftarrow (1-h)r + hD(r)",
    formula=r"c = s/w,\ s = h/(1-h)",
    reading="explicit data, then the prior's resolvent with parameter s (ISTA-Net); no finite c in the last step, "
    "where the network takes that of gradient_endpoint",
)
_ISTA = replace(
    _LAST_ISTA,
    coefficient=lambda h, w: h / ((1 - h) * w),
    ratio=lambda h, c: h / ((1 - h) * c),
    last=_LAST_ISTA,
)
_ADMM = DataStep(
    "admm",
    solves=True,
    coefficient=lambda h, w: w * (1 - h) / h,
    ratio=lambda h, c: c * h / (1 - h),
    corrected=lambda z, x, c, data: data.proximal(2 * z - x, c) + (x - z),
    last=_PROXIMAL,
    update=r"z = (1-h)x + hD(x),\quad x \leftarrow (A^HA + c)^{-1}(A^Hy + c\,(2z - x)) + (x - z)",
    formula=r"c = w\rho,\ \rho = t_k/\lvert\delta_k\rvert",
    reading="Douglas-Rachford; x - z is the scaled dual, on the path the step itself. The last step (rho = 0) leaves "
    "no weight; there the network takes the proximal endpoint",
)
_NONE = DataStep(
    "none",
    coefficient=lambda h, w: torch.zeros_like(h * w),
    ratio=lambda h, c: torch.full_like(h * c, torch.inf),
    endpoint=lambda denoised, c, data: denoised,
    constant=True,
    update=r"x \leftarrow (1-h)x + hD(x)",
    formula=r"c = 0",
    reading="the regularizer alone, which then has to know the data (an oracle, a conditional network)",
)

DATA_STEPS = {
    step.name: step
    for step in (_PROXIMAL, _IMEX, _GRADIENT_ENDPOINT, _GRADIENT, _PAPER, _SOFT, _HARD, _ISTA, _ADMM, _NONE)
}
"""Every data step by the name that the settings call it."""
