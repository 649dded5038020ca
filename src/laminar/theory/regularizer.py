"""Oracles as regularizers: networks whose every state is a number that is known."""

from __future__ import annotations

from torch import Tensor, nn

from laminar.errors import ConfigError
from laminar.theory.prior import AnalyticPrior


class OracleRegularizer(nn.Module):
    """The exact regularizer `R(x, t) = x - E[x0 | x_t = x]` of a prior, or of a posterior `prior.given(A, y, sigma)`.

    Takes x complex (batch, y, x) and t (batch,) like every regularizer of `UnrolledNetwork`; works in complex128 on
    the device of the prior, and answers in the dtype and on the device of x. `prior` is complex, of n = y * x numbers
    in row-major order. `source` (y, x) or (batch, y, x) and `tau` describe the start `x1 = source + tau eps` from
    which the network must be run for the endpoint to be exact. With tau = 0 it is the degenerate `(x - t x1)/(1-t)`
    for t < 1, on the line or off it, and the mean at t = 1. Raises ConfigError for shapes that do not fit.
    """

    def __init__(self, prior: AnalyticPrior, source: Tensor, tau: float) -> None:
        super().__init__()
        size = len(prior.mean)
        if not prior.mean.is_complex() or source.ndim not in (2, 3) or source.shape[-2:].numel() != size:
            raise ConfigError(
                "an oracle of images needs a complex prior of n = y * x numbers and a source (y, x) or (batch, y, x); "
                f"got a prior of {size} of {prior.mean.dtype} and a source {tuple(source.shape)}"
            )
        self.prior, self.tau = prior, tau
        self.source = source.flatten(-2).to(prior.mean)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        flat = x.flatten(1).to(self.prior.mean)
        denoised = self.prior.denoised(flat, time.to(flat.real), source=self.source, tau=self.tau)
        return x - denoised.view(x.shape).to(x)


class ConstantOracle(nn.Module):
    """`R(x, t) = x - mean`: an endpoint that does not move, such as the posterior mean from a deterministic source.

    `mean` complex (y, x) or (batch, y, x). With it Euler stays on the line from the source to the mean.
    """

    mean: Tensor

    def __init__(self, mean: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean, persistent=False)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return x - self.mean
