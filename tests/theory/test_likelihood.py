"""The three likelihood modes against exact Gaussian conditionals, computed densely from joint covariances."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.flow.gaussian_paths import interpolant_velocity
from laminar.operators import Encoding, LinearOperator, wrap
from laminar.theory.likelihood import GaussianSourceLikelihood, PaperLikelihood, PathLikelihood

BATCH, N, M, SIGMA = 3, 4, 6, 0.3
TIMES = [0.05, 0.4, 0.8, 0.97]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def eye(n: int) -> Tensor:
    return torch.eye(n, dtype=torch.complex128)


def scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """To `tolerance` of the largest entry."""
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * float(expected.abs().max()))


class Dense:
    """A matrix (m, n) on flat batches (batch, n)."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.matrix.T

    def adjoint(self, y: Tensor) -> Tensor:
        return y @ self.matrix.conj()


def dense(matrix: Tensor) -> LinearOperator:
    return wrap(Dense(matrix), (matrix.shape[1],), dtype=torch.complex128)


TALL = draw(M, N, seed=1) / 3  # more measurements than unknowns: A A^H is far from the identity
DEFICIENT = draw(M, 2, seed=2) @ draw(2, N, seed=3) / 3
ROWS = torch.linalg.qr(draw(N, 2, seed=4))[0].mH  # two orthonormal rows: A A^H = I, undersampled
PRIOR_MEAN = draw(N, seed=5)
PRIOR_ROOT = draw(N, N, seed=6) / 2
PRIOR_COVARIANCE = PRIOR_ROOT @ PRIOR_ROOT.mH


class Joint:
    """`x_t = S x0 + T n + U eps` and `y = A x0 + n` for x0 ~ N(mean, covariance): everything as dense matrices."""

    def __init__(self, matrix: Tensor, mean: Tensor, covariance: Tensor, state_of: tuple[Tensor, Tensor, Tensor]):
        image, noise, free = state_of
        self.matrix, self.mean, self.covariance, self.image = matrix, mean, covariance, image
        self.sigma = SIGMA**2 * eye(len(matrix))
        self.state_cov = image @ covariance @ image.mH + noise @ self.sigma @ noise.mH + free @ free.mH
        self.cross = matrix @ covariance @ image.mH + self.sigma @ noise.mH  # Cov(y, x_t)
        self.gain = torch.linalg.solve(self.state_cov, self.cross.mH).mH  # E[y | x_t] = gain (x_t - mean) + ...
        self.spread = matrix @ covariance @ matrix.mH + self.sigma - self.gain @ self.cross.mH

    def score(self, state: Tensor, y: Tensor) -> Tensor:
        """d/d(conj x_t) log N(y; E[y | x_t], Cov[y | x_t])."""
        predicted = self.matrix @ self.mean + (state - self.image @ self.mean) @ self.gain.T
        return torch.linalg.solve(self.spread, (y - predicted).T).T @ self.gain.conj()

    def endpoint(self, state: Tensor, y: Tensor | None = None) -> Tensor:
        """E[x0 | x_t], or E[x0 | x_t, y]."""
        seen, cov, cross = state - self.image @ self.mean, self.state_cov, self.covariance @ self.image.mH
        if y is not None:
            seen = torch.cat([seen, y - self.matrix @ self.mean], dim=1)
            y_cov = self.matrix @ self.covariance @ self.matrix.mH + self.sigma
            cov = torch.cat([torch.cat([cov, self.cross.mH], 1), torch.cat([self.cross, y_cov], 1)])
            cross = torch.cat([cross, self.covariance @ self.matrix.mH], 1)
        return self.mean + seen @ torch.linalg.solve(cov, cross.mH).conj()


def back_projected(matrix: Tensor, time: float, mean: Tensor, covariance: Tensor) -> Joint:
    """x1 = A^H y: `x_t = ((1 - t) I + t A^H A) x0 + t A^H n`."""
    image = (1 - time) * eye(N) + time * matrix.mH @ matrix
    return Joint(matrix, mean, covariance, (image, time * matrix.mH, 0 * eye(N)))


@pytest.mark.parametrize("matrix", [TALL, DEFICIENT, ROWS], ids=["tall", "deficient", "rows"])
@pytest.mark.parametrize("time", TIMES)
def test_path_mode_is_the_limit_of_a_flat_prior(matrix: Tensor, time: float) -> None:
    """The distance to the exact conditional of a prior N(0, s^2 I) falls as s^-2: to nothing in the flat limit."""
    y, state = draw(BATCH, len(matrix), seed=7), draw(BATCH, N, seed=8)
    found = PathLikelihood(y, dense(matrix), SIGMA).score(state, scalar(time))
    wide = [back_projected(matrix, time, PRIOR_MEAN, s**2 * eye(N)).score(state, y) for s in (10, 100)]
    near, nearer = ((one - found).abs().max() / found.abs().max() for one in wide)
    assert nearer < 1e-5
    assert float(near / nearer) == pytest.approx(100, rel=0.02)


@pytest.mark.parametrize("time", TIMES)
def test_path_mode_with_a_gaussian_prior_and_a_single_coil(time: float) -> None:
    y, state, std = draw(BATCH, 2, seed=7), draw(BATCH, N, seed=8), 0.6
    exact = back_projected(ROWS, time, PRIOR_MEAN, std**2 * eye(N)).score(state, y)
    likelihood = PathLikelihood(y, dense(ROWS), SIGMA, prior=(PRIOR_MEAN, std))
    close(likelihood.score(state, scalar(time)), exact, 1e-10)
    flat = replace(likelihood, prior=None).score(state, scalar(time))
    assert (flat - exact).abs().max() > 0.01 * exact.abs().max()


def test_path_mode_is_skipped_at_the_source_and_paper_mode_at_the_image_is_exact() -> None:
    y, state = draw(BATCH, M, seed=7), draw(BATCH, N, seed=8)
    path, paper = PathLikelihood(y, dense(TALL), SIGMA), PaperLikelihood(y, dense(TALL), SIGMA)
    assert torch.equal(path.score(state, scalar(1.0)), torch.zeros_like(state))
    # p(y | x0) needs no prior: at t = 0 every mode with the right source is this one
    exact = back_projected(TALL, 0.0, PRIOR_MEAN, PRIOR_COVARIANCE).score(state, y)
    close(paper.score(state, scalar(0.0)), exact, 1e-12)
    close(path.score(state, scalar(0.0)), exact, 1e-12)
    # and away from it the paper's is not the conditional, whichever the source
    later = back_projected(TALL, 0.4, PRIOR_MEAN, PRIOR_COVARIANCE).score(state, y)
    assert (paper.score(state, scalar(0.4)) - later).abs().max() > 0.1 * later.abs().max()


def test_paper_mode_guides_by_the_gradient_of_the_log_likelihood() -> None:
    """Half the real gradient of -||y - A x||^2 / sigma_b^2, for noise levels of each batch entry."""
    y, state = draw(BATCH, M, seed=7), draw(BATCH, N, seed=8).requires_grad_()
    levels = torch.tensor([0.1, 0.5, 2.0], dtype=torch.float64)
    likelihood = PaperLikelihood(y, dense(TALL), levels)
    log_density = -((y - dense(TALL)(state)).abs().square().sum(1) / levels**2).sum()
    (gradient,) = torch.autograd.grad(log_density, state)
    state = state.detach()
    close(likelihood.score(state, scalar(0.7)), gradient / 2, 1e-13)
    guided = likelihood.guide(lambda x, t: t * x)
    close(guided(state, scalar(0.7)), 0.7 * state - gradient / 2, 1e-13)


def gaussian_source(matrix: Tensor, time: float, tau: float) -> tuple[Joint, GaussianSourceLikelihood, Tensor, Tensor]:
    """The exact joint law on `x_t = (1 - t) x0 + t tau eps`, and the mode with the exact denoiser and C_t."""
    joint = Joint(
        matrix,
        PRIOR_MEAN,
        PRIOR_COVARIANCE,
        ((1 - time) * eye(N), torch.zeros(N, len(matrix), dtype=torch.complex128), time * tau * eye(N)),
    )
    gain = torch.linalg.solve(joint.state_cov, joint.image @ PRIOR_COVARIANCE).mH
    conditional = PRIOR_COVARIANCE - gain @ joint.image @ PRIOR_COVARIANCE
    y, state = draw(BATCH, len(matrix), seed=7), draw(BATCH, N, seed=8)
    likelihood = GaussianSourceLikelihood(
        y,
        dense(matrix),
        SIGMA,
        tau=tau,
        denoiser=lambda x, t: joint.endpoint(x),
        covariance=lambda image, x, t: image @ conditional.T,
        tolerance=1e-14,
    )
    return joint, likelihood, y, state


@pytest.mark.parametrize("matrix", [TALL, DEFICIENT, ROWS], ids=["tall", "deficient", "rows"])
@pytest.mark.parametrize("time", TIMES)
def test_gaussian_source_mode_is_the_exact_conditional(matrix: Tensor, time: float) -> None:
    """The score of p(y | x_t), and the guided velocity that of the endpoint E[x0 | x_t, y]."""
    joint, likelihood, y, state = gaussian_source(matrix, time, tau=0.8)
    close(likelihood.score(state, scalar(time)), joint.score(state, y), 1e-9)
    prior_velocity = interpolant_velocity(state, time, joint.endpoint(state))
    exact = interpolant_velocity(state, time, joint.endpoint(state, y))
    close(likelihood.guide(lambda x, t: prior_velocity)(state, scalar(time)), exact, 1e-9)


def test_gaussian_source_guidance_has_its_limit_at_the_start() -> None:
    """At t = 1 the denoiser is constant: no Jacobian, a score of zero, and yet the exact velocity given y."""
    joint, likelihood, y, state = gaussian_source(TALL, 1.0, tau=0.8)
    assert not likelihood.score(state, scalar(1.0)).any()
    exact = state - joint.endpoint(state, y)
    close(likelihood.guide(lambda x, t: x - joint.endpoint(x))(state, scalar(1.0)), exact, 1e-10)
    constant = replace(likelihood, denoiser=lambda x, t: PRIOR_MEAN.expand(BATCH, N))
    assert not constant.score(state, scalar(1.0)).any()


def test_gaussian_source_with_a_scalar_variance_and_a_pullback() -> None:
    """For a prior N(mu, s^2 I) the covariance is a number, and a pullback that is given is the one that is used."""
    time, tau, std = 0.4, 0.8, 0.6
    shrink = (1 - time) * std**2 / ((1 - time) ** 2 * std**2 + time**2 * tau**2)
    remaining = std**2 * (1 - shrink * (1 - time))
    operator, y, state = dense(TALL), draw(BATCH, M, seed=7), draw(BATCH, N, seed=8)
    joint = Joint(TALL, 0 * PRIOR_MEAN, std**2 * eye(N), ((1 - time) * eye(N), 0 * TALL.mH, time * tau * eye(N)))
    likelihood = GaussianSourceLikelihood(
        y, operator, SIGMA, tau=tau, denoiser=lambda x, t: shrink * x, covariance=remaining, tolerance=1e-14
    )
    close(likelihood.score(state, scalar(time)), joint.score(state, y), 1e-10)
    doubled = replace(likelihood, pullback=lambda image, x, t: 2 * shrink * image)
    close(doubled.score(state, scalar(time)), 2 * joint.score(state, y), 1e-10)


def test_the_modes_run_on_the_encoding_operator_and_per_entry_noise() -> None:
    """Images (batch, y, x) and k-space (batch, coil, y, x); the batch is the same as its entries one by one."""
    sensitivities = draw(2, 3, 6, 5, seed=1)
    sensitivities = sensitivities / sensitivities.abs().square().sum(1, keepdim=True).sqrt()
    mask = torch.rand(2, 6, 5, generator=torch.Generator().manual_seed(2)) < 0.5
    y, state = draw(2, 3, 6, 5, seed=3) * mask[:, None], draw(2, 6, 5, seed=4)
    levels, time = torch.tensor([0.2, 0.7], dtype=torch.float64), scalar(0.3)

    def scores(rows: slice) -> Tensor:
        operator, x = Encoding(mask[rows], sensitivities[rows]), state[rows]
        common = (y[rows], operator, levels[rows])
        source = GaussianSourceLikelihood(
            *common, tau=0.5, denoiser=lambda x, t: x.tanh(), covariance=0.2, iterations=60, tolerance=1e-13
        )
        return torch.stack(
            [mode.score(x, time) for mode in (PaperLikelihood(*common), PathLikelihood(*common), source)]
        )

    together = scores(slice(0, 2))
    for k in range(2):
        close(scores(slice(k, k + 1))[:, 0], together[:, k], 1e-9)


def test_what_has_no_meaning_is_refused() -> None:
    y, operator = draw(BATCH, M), dense(TALL)
    with pytest.raises(ConfigError, match="positive noise level"):
        PaperLikelihood(y, operator, 0.0)
    with pytest.raises(ConfigError, match="guides no velocity"):
        PathLikelihood(y, operator, SIGMA).guide(lambda x, t: x)
    with pytest.raises(ConfigError, match="tau > 0"):
        GaussianSourceLikelihood(y, operator, SIGMA, tau=0.0, denoiser=lambda x, t: x, covariance=1.0)
