"""Reconstruction with a sparse image: l1-wavelet and total variation over any linear operator."""

from __future__ import annotations

import torch
from torch import Tensor

from laminar.classical.proximal import Prox, Solution, fista, pdhg, project_onto_balls, settle, soft_threshold
from laminar.classical.wavelet import Wavelet
from laminar.errors import ConfigError
from laminar.operators import LinearOperator, spectral_norm
from laminar.statistics import quantile

_MARGIN = 1.05  # a power iteration comes to the norm from below
_BALANCE = 0.5  # of the curvature L that `pdhg` spends on the dual step


class Differences(LinearOperator):
    """Differences to the preceding pixel of a periodic image: (..., y, x) to (..., 2, y, x). `||D||^2 <= 8`.

    With three `axes`, (batch, frame, y, x) to (batch, 3, frame, y, x), `||D||^2 <= 12`. The adjoint is minus the
    divergence.
    """

    def __init__(self, axes: int = 2) -> None:
        self.axes = tuple(range(-axes, 0))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x - x.roll(1, axis) for axis in self.axes], -1 - len(self.axes))

    def adjoint(self, y: Tensor) -> Tensor:
        parts = zip(y.unbind(-1 - len(self.axes)), self.axes, strict=True)
        differences = [part - part.roll(-1, axis) for part, axis in parts]
        return torch.stack(differences).sum(0)


def l1_wavelet(
    y: Tensor,
    operator: LinearOperator,
    weight: float | Tensor,
    *,
    scale: float | Tensor | None = None,
    norm: float | None = None,
    filter: str = "db4",
    shifts: torch.Generator | None = None,
    iterations: int = 200,
    tolerance: float = 1e-4,
) -> Solution:
    """The image, or series of images, whose wavelet coefficients are sparse, by FISTA.

        argmin_x 1/2 ||A x - y||^2 + weight * scale * ||W x||_1

    The padding that `Wavelet` adds is free: the penalty takes the values there that make it least.

    Args:
        y: measurement (batch, ...), of which `operator` makes images (batch, y, x).
        operator: A.
        weight: dimensionless, one number or one for every batch entry, (batch,).
        scale: size of the image in the units of y, one number or (batch,); None takes the 0.99 quantile of
            `|A^H y| / ||A||^2`. In any case `a y` gives `a x` if the scale follows.
        norm: `||A||` or an upper bound of it; None finds it by power iteration.
        filter: the wavelet, a key of `wavelet.MOMENTS`.
        shifts: with a generator, W is shifted anew at random in every iteration: blocks disappear, and what is
            minimized is about the average of the penalty over the shifts. Without, the minimum is exact.
        iterations: the most that are done, one application of `A^H A` each.
        tolerance: stop at a smaller relative change.

    Raises ConfigError if weight or scale is negative. Source: Lustig et al. 2007, doi:10.1002/mrm.21391.
    """
    back = operator.adjoint(y)
    wavelet = Wavelet(operator.image_shape(back), filter)
    curvature = curvature_of(operator, back, norm)
    threshold = threshold_of(weight, scale, back, curvature)

    def gradient(x: Tensor) -> Tensor:
        return wavelet.pad(operator.gram(wavelet.crop(x)) - back)

    start = wavelet.pad(torch.zeros_like(back))
    prox = _wavelet_prox(wavelet, threshold, shifts)
    found = settle(fista(gradient, prox, start, 1 / curvature), start, iterations, tolerance)
    return Solution(wavelet.crop(found.x), [wavelet.crop(x) for x in found.checkpoints], found.iterations)


def _wavelet_prox(wavelet: Wavelet, threshold: Tensor, shifts: torch.Generator | None) -> Prox:
    def prox(x: Tensor, step: Tensor) -> Tensor:
        return wavelet.synthesize(soft_threshold(wavelet.analyze(x), step * threshold))

    def shifted(x: Tensor, step: Tensor) -> Tensor:
        axes = tuple(range(-len(wavelet.matrix), 0))
        shift = torch.randint(2**wavelet.levels, (len(axes),), generator=shifts).tolist()
        back = [-s for s in shift]
        return prox(x.roll(shift, axes), step).roll(back, axes)

    return prox if shifts is None else shifted


def total_variation(
    y: Tensor,
    operator: LinearOperator,
    weight: float | Tensor,
    *,
    scale: float | Tensor | None = None,
    norm: float | None = None,
    iterations: int = 300,
    tolerance: float = 1e-4,
) -> Solution:
    """The image of small isotropic total variation, by the primal-dual hybrid gradient method.

        argmin_x 1/2 ||A x - y||^2 + weight * scale * sum_pixels sqrt(|D_y x|^2 + |D_x x|^2)

    with |D_f x|^2 too in a series, along its frames.

    Arguments and errors as of `l1_wavelet`; D are `Differences`. Source: Rudin, Osher and Fatemi 1992,
    doi:10.1016/0167-2789(92)90242-F.
    """
    back = operator.adjoint(y)
    curvature = curvature_of(operator, back, norm)
    threshold = threshold_of(weight, scale, back, curvature).unsqueeze(-1)
    axes = len(operator.image_shape(back))
    bound = 4 * axes  # of ||D||^2
    dual_step = _BALANCE * curvature / bound
    step = 1 / (curvature / 2 + bound * dual_step)

    def project(dual: Tensor, _: Tensor) -> Tensor:
        return project_onto_balls(dual, threshold, -1 - axes)

    start = torch.zeros_like(back)
    iterates = pdhg(lambda x: operator.gram(x) - back, Differences(axes), project, start, step, dual_step.unsqueeze(-1))
    return settle(iterates, start, iterations, tolerance)


def curvature_of(operator: LinearOperator, like: Tensor, norm: float | None) -> Tensor:
    """An upper bound of `||A||^2`, (batch, 1, ...) as the image, from `norm` or by power iteration."""
    real = like.real.dtype
    if norm is not None:
        return torch.full((len(like), *[1] * (like.ndim - 1)), norm**2, dtype=real, device=like.device)
    random = torch.randn(like.shape, dtype=like.dtype, generator=torch.Generator().manual_seed(0)).to(like.device)
    return (_MARGIN * spectral_norm(operator, random)).square().to(real).reshape(-1, *[1] * (like.ndim - 1))


def threshold_of(weight: float | Tensor, scale: float | Tensor | None, back: Tensor, curvature: Tensor) -> Tensor:
    """`weight * scale`, (batch, 1, ...) as the image."""
    if scale is None:
        scale = quantile(back.abs().flatten(1), 0.99) / curvature.flatten()
    return scaled_weight(weight, scale, back)


def scaled_weight(weight: float | Tensor, scale: float | Tensor, back: Tensor) -> Tensor:
    """`weight * scale`, (batch, 1, ...) as the image. Raises ConfigError if it is negative."""
    weight, scale = (torch.as_tensor(part, dtype=torch.float64, device=back.device) for part in (weight, scale))
    threshold = weight * scale
    if not bool((threshold >= 0).all()):
        raise ConfigError(
            f"a regularization weight must not be negative; got weight {weight.tolist()} and scale {scale.tolist()}"
        )
    return threshold.to(back.real.dtype).expand(len(back)).reshape(-1, *[1] * (back.ndim - 1))
