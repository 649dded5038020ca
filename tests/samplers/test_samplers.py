"""Samplers in Gaussian worlds, where the posterior, and with it every bias, is known.

Where a sampler is affine its law is computed exactly (`laminar.theory.laws.pushed`), not estimated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.flow import TABLEAUX, Trajectory, integrate
from laminar.flow.gaussian_paths import GaussianPath, VarianceExploding, VariancePreserving
from laminar.operators import Encoding
from laminar.samplers import (
    DDIM,
    DDS,
    DPS,
    MCDDPM,
    OTODE,
    RECTIFIED,
    VP,
    Flower,
    PiGDM,
    PnPFlow,
    Sampler,
    ScoreMRI,
    ddim,
    edm,
    follow,
    sample,
    uniform,
)
from laminar.theory import Gaussian
from laminar.theory.conversions import Rectified, by_noise_level, on_path, probability_flow
from laminar.theory.laws import Law, Score, compare, exact_law, exact_law_of_a_run, moments, pushed
from laminar.theory.likelihood import GaussianSourceLikelihood
from laminar.theory.scan import Scan, make_scan

SIZE = 4
IDENTITY = torch.eye(SIZE**2, dtype=torch.complex128)
CONVERGED: dict[str, Any] = {"iterations": 60, "tolerance": 1e-12}


def smooth_prior() -> Gaussian:
    place = torch.cartesian_prod(*[torch.arange(SIZE, dtype=torch.float64)] * 2)
    covariance = torch.exp(-torch.cdist(place, place) / 2).cdouble()
    return Gaussian(torch.linspace(0, 1, len(place)).cdouble() * (1 + 0.5j), covariance)


def scalar_prior(std: float) -> Gaussian:
    return Gaussian(smooth_prior().mean, std**2 * IDENTITY)


SMOOTH = make_scan(smooth_prior(), SIZE, coils=2, spacing=3)
SINGLE = make_scan(smooth_prior(), SIZE, coils=1, spacing=2)
SCALAR = make_scan(scalar_prior(0.7), SIZE, coils=2, spacing=3, noise_std=0.3)


def emptied(scan: Scan) -> Scan:
    nothing = torch.zeros(1, SIZE, SIZE, dtype=torch.bool)
    operator = Encoding(nothing, torch.ones(1, 1, SIZE, SIZE).cdouble())
    return Scan(scan.prior, operator, torch.zeros(1, 1, SIZE, SIZE).cdouble(), scan.noise_std, scan.shape)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def repeated(scan: Scan, count: int) -> Tensor:
    return scan.y.expand(count, *scan.y.shape[1:])


def bound(sampler: Sampler, scan: Scan, **given: Any) -> Callable[..., Trajectory]:
    """A sampler, its solves exact, of which nothing is left open but y, nfe, generator, schedule and start."""
    solved = replace(sampler, **CONVERGED) if isinstance(sampler, PiGDM | OTODE | Flower | MCDDPM) else sampler
    given = {"noise_level": scan.noise_std} | given
    return partial(sample, solved, scan.denoiser(scan.prior), scan.operator, **given)


def unconditional(scan: Scan, law: Gaussian, **settings: Any) -> Callable[..., Trajectory]:
    return lambda y, **rest: ddim(scan.denoiser(law), torch.zeros(len(y), SIZE, SIZE).cdouble(), **settings, **rest)


def limit_of(coarse: Law, fine: Law, exact: Gaussian, order: int = 1) -> Score:
    """The score of the extrapolated law of n and 2n steps, after a check that the error falls with that order."""
    before, after = compare(coarse, exact), compare(fine, exact)
    assert 0.8 * 2**-order < after.covariance / before.covariance < 1.2 * 2**-order
    gain = 1 / (2**order - 1)
    limit = compare(Law(*((1 + gain) * b - gain * a for a, b in zip(coarse, fine, strict=True))), exact)
    assert limit.covariance < 0.35 * after.covariance
    return limit


ALL = [ScoreMRI(), DDS(), DPS(), PiGDM(), MCDDPM(), OTODE(), PnPFlow(), Flower()]
PATHS = [VariancePreserving(), VarianceExploding(), Rectified()]


def name_of(sampler: Sampler) -> str:
    return type(sampler).__name__


# Samples of the prior, or of the posterior if the denoiser knows the data


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("path", PATHS, ids=lambda path: type(path).__name__)
def test_samples_of_a_gaussian_world_have_the_right_law(path: GaussianPath, eta: float) -> None:
    """A denoiser of any path, seen by noise level: first order in the number of steps, and the limit is the prior."""
    prior = SMOOTH.prior

    def on_its_path(x: Tensor, time: Tensor) -> Tensor:
        a, b, _, _ = path.at(time)
        whole = a**2 * prior.covariance + b**2 * IDENTITY
        return (
            prior.mean + (x.flatten(1) - a * prior.mean) @ (a * torch.linalg.solve(whole, prior.covariance)).T
        ).view_as(x)

    denoise = by_noise_level(path, on_its_path)
    sampler = lambda y, **rest: ddim(denoise, torch.zeros(len(y), SIZE, SIZE).cdouble(), eta=eta, **rest)  # noqa: E731
    schedule = uniform(0.98) if isinstance(path, VarianceExploding) else RECTIFIED
    schedule = VP if isinstance(path, VariancePreserving) else schedule
    coarse, fine = (exact_law(sampler, SMOOTH, schedule, steps) for steps in (40, 80))
    t = schedule(1)[0]
    lost = (prior.root @ prior.mean).norm() / prior.mean.norm() * (1 - t) / t if eta == 0 else 0
    assert limit_of(coarse, fine, prior).mean < 1.1 * lost + 3e-3


def test_an_exact_conditional_score_gives_the_exact_posterior() -> None:
    for eta in (0.0, 1.0):
        sampler = unconditional(SMOOTH, SMOOTH.posterior, eta=eta)
        coarse, fine = (exact_law(sampler, SMOOTH, edm(), steps) for steps in (40, 80))
        assert limit_of(coarse, fine, SMOOTH.posterior).mean < 0.01


@pytest.mark.parametrize("sampler", [DDS(eta=0), DPS(eta=0), PiGDM(eta=0), MCDDPM(eta=0)], ids=name_of)
def test_without_data_and_fresh_noise_a_sampler_is_that_of_the_prior(sampler: Sampler) -> None:
    """Noise for noise the same images as DDIM."""
    scan = emptied(SMOOTH)
    like = torch.zeros(3, SIZE, SIZE).cdouble()
    found = bound(sampler, scan)(y=repeated(scan, 3), nfe=20, generator=generator())
    steps = len(found.states) - 1
    expected = ddim(scan.denoiser(scan.prior), like, nfe=steps, generator=generator(), schedule=VP)
    torch.testing.assert_close(found.stacked(), expected.stacked(), rtol=0, atol=1e-12)


def test_without_data_predictors_and_flows_sample_the_prior() -> None:
    scan = emptied(SMOOTH)
    predictor = bound(ScoreMRI(correctors=0), scan)
    limit_of(*(exact_law(predictor, scan, edm(), steps) for steps in (40, 80)), scan.prior)
    flow = bound(OTODE(tableau=TABLEAUX["heun"]), scan, schedule=RECTIFIED)
    limit_of(*(exact_law_of_a_run(flow, scan, nfe) for nfe in (78, 158)), scan.prior, order=2)


def test_a_corrector_leaves_the_law_of_its_level_as_it_is() -> None:
    """Langevin steps from the law of z at s; with the noise of real numbers the spread would be off by a factor."""
    scan, level = emptied(SMOOTH), 0.5
    noise = level * torch.randn(4000, SIZE, SIZE, dtype=torch.complex128, generator=generator(1))
    z = scan.prior.sample(4000, generator(2)).view(-1, SIZE, SIZE) + noise
    time = level / (1 + level)
    schedule = lambda _: torch.tensor([time + 1e-9, time], dtype=torch.float64)  # noqa: E731
    run = bound(ScoreMRI(correctors=15), scan)(
        y=repeated(scan, 4000), nfe=16, generator=generator(3), schedule=schedule, start=z / (1 + level)
    )
    expected = scan.prior.covariance + level**2 * IDENTITY
    found = moments(((1 + level) * run.image).flatten(1)).covariance
    assert float((found - expected).norm() / expected.norm()) < 0.12
    assert 1 <= float(found.trace().real / expected.trace().real) < 1.08


# Consistent samplers


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_pigdm_is_consistent_where_its_covariance_is_true(eta: float) -> None:
    sampler = bound(PiGDM(eta=eta), SCALAR, prior_std=0.7)
    coarse, fine = (exact_law(sampler, SCALAR, edm(), steps, cost=2) for steps in (20, 40))
    assert limit_of(coarse, fine, SCALAR.posterior).mean < 0.01


def test_ot_ode_with_heun_is_consistent_of_second_order() -> None:
    sampler = bound(OTODE(tableau=TABLEAUX["heun"]), SCALAR, prior_std=0.7, schedule=uniform(0.9999))
    noise = lambda y, **rest: sampler(y=y, start=pure_noise(y, rest["generator"]), **rest)  # noqa: E731
    coarse, fine = (exact_law_of_a_run(noise, SCALAR, nfe) for nfe in (78, 158))
    assert limit_of(coarse, fine, SCALAR.posterior, order=2).mean < 2e-3


def pure_noise(y: Tensor, noise: Any) -> Tensor:
    like = torch.zeros(len(y), SIZE, SIZE).cdouble()
    return 0.9999 * (noise(like) if callable(noise) else torch.randn(like.shape, dtype=like.dtype, generator=noise))


@pytest.mark.parametrize("steps", [1, 3])
def test_flower_is_exact_for_every_number_of_steps(steps: int) -> None:
    """From the exact law of x_t given y each state has the exact law again."""
    posterior, t = SCALAR.posterior, 0.6
    times = torch.linspace(t, 0, steps + 1, dtype=torch.float64)
    law = Law((1 - t) * posterior.mean, (1 - t) ** 2 * posterior.covariance + t**2 * IDENTITY)

    def run(state: Tensor | None, batch: int, noise: Any) -> Tensor:
        assert state is not None
        start = state.view(-1, SIZE, SIZE)
        sampler = bound(Flower(), SCALAR, prior_std=0.7, schedule=lambda _: times)
        return sampler(y=repeated(SCALAR, batch), nfe=steps, generator=noise, start=start).image

    score = compare(pushed(run, law), posterior)
    assert score.mean < 1e-12
    assert score.covariance < 1e-12


def test_mc_ddpm_with_its_own_denoiser_gives_the_law_of_what_was_not_measured() -> None:
    """Told that the data are exact, so that its projector is one."""
    scan = SMOOTH
    basis = scan.unseen
    assert basis.shape[1] > 0
    sampler = partial(sample, MCDDPM(**CONVERGED), scan.conditional_denoiser(), scan.operator, noise_level=0.0)
    truth = Gaussian(basis.mH @ scan.posterior.mean, basis.mH @ scan.posterior.covariance @ basis)
    seen = [exact_law(sampler, scan, edm(), steps) for steps in (20, 40)]
    coarse, fine = (Law(basis.mH @ m, basis.mH @ c @ basis) for m, c in seen)
    assert limit_of(coarse, fine, truth).mean < 0.01
    outside = IDENTITY - basis @ basis.mH
    assert float((outside @ seen[1].covariance).norm()) < 1e-9


@pytest.mark.parametrize("sampler", [ScoreMRI(), DDS(weight=0), PiGDM(), MCDDPM(), OTODE(), Flower()], ids=name_of)
def test_full_data_without_noise_or_penalty_leave_no_choice(sampler: Sampler) -> None:
    full = make_scan(scalar_prior(0.7), SIZE, coils=2, spacing=1, noise_std=0.0)
    run = bound(sampler, full, prior_std=0.7)(y=repeated(full, 2), nfe=10, generator=generator())
    image = full.operator.adjoint(full.y).expand(2, -1, -1)
    torch.testing.assert_close(run.image, image, rtol=0, atol=1e-9)


@pytest.mark.parametrize("sampler", [ScoreMRI(), MCDDPM()], ids=name_of)
def test_hard_consistency_explains_the_data_of_a_single_coil(sampler: Sampler) -> None:
    run = bound(sampler, SINGLE, noise_level=0.0)(y=repeated(SINGLE, 3), nfe=9, generator=generator())
    torch.testing.assert_close(SINGLE.operator(run.image), repeated(SINGLE, 3), rtol=0, atol=1e-9)


def test_mc_ddpm_takes_the_data_as_far_as_they_are_known_better_than_the_level() -> None:
    """At the last step, in the singular vectors of A: share `a^2 / (a^2 + sigma_y^2 / r^2)` of the data."""
    run = bound(MCDDPM(), SMOOTH, prior_std=0.6, schedule=uniform(0.5))(y=SMOOTH.y, nfe=1, generator=generator())
    m = SMOOTH.denoiser(SMOOTH.prior)(2 * run.source, torch.ones((), dtype=torch.float64)).flatten()
    _, a, rows = torch.linalg.svd(SMOOTH.matrix, full_matrices=False)
    share = a**2 / (a**2 + 0.1**2 * (1 + 1 / 0.6**2))
    data = torch.linalg.pinv(SMOOTH.matrix, rtol=1e-10) @ SMOOTH.y.flatten()
    expected = m + rows.mH @ (share * (rows @ (data - m)))
    torch.testing.assert_close(run.image.flatten(), expected, rtol=0, atol=1e-9)


# The formulas of the papers, one step


def test_the_step_of_ddim_is_the_published_one() -> None:
    """arXiv 2010.02502, eq. 12 and 16, in its own scale `x = sqrt(alpha) z`."""
    alpha, alpha_next, eta = 0.3, 0.55, 0.6
    levels = [((1 - a) / a) ** 0.5 for a in (alpha, alpha_next)]
    times = torch.tensor([level / (1 + level) for level in levels], dtype=torch.float64)
    x = torch.randn(2, SIZE, SIZE, dtype=torch.complex128, generator=generator(1))
    denoise, start = SMOOTH.denoiser(SMOOTH.prior), x / alpha**0.5 / (1 + levels[0])
    run = ddim(denoise, x, nfe=1, generator=generator(2), eta=eta, schedule=lambda _: times, start=start)
    m = denoise(x / alpha**0.5, torch.tensor(levels[0], dtype=torch.float64))
    spread = eta * ((1 - alpha_next) / (1 - alpha)) ** 0.5 * (1 - alpha / alpha_next) ** 0.5
    noise = torch.randn(x.shape, dtype=x.dtype, generator=generator(2))
    direction = (1 - alpha_next - spread**2) ** 0.5 * (x - alpha**0.5 * m) / (1 - alpha) ** 0.5
    expected = alpha_next**0.5 * m + direction + spread * noise
    torch.testing.assert_close(alpha_next**0.5 * (1 + levels[1]) * run.image, expected, rtol=0, atol=1e-12)


def test_the_step_of_dps_is_the_published_one() -> None:
    """arXiv 2209.14687, algorithm 1 in the variance-preserving scale, with autograd of the norm as real numbers."""
    alpha, alpha_next, zeta = 0.3, 0.55, 0.8
    levels = [((1 - a) / a) ** 0.5 for a in (alpha, alpha_next)]
    times = torch.tensor([level / (1 + level) for level in levels], dtype=torch.float64)
    x = torch.randn(1, SIZE, SIZE, dtype=torch.complex128, generator=generator(1))
    denoise, start = SMOOTH.denoiser(SMOOTH.prior), x / alpha**0.5 / (1 + levels[0])
    run = bound(DPS(strength=zeta, eta=0.0), SMOOTH)(
        y=SMOOTH.y, nfe=2, generator=generator(), schedule=lambda _: times, start=start
    )
    parts = torch.view_as_real(x).clone().requires_grad_()
    m = denoise(torch.view_as_complex(parts) / alpha**0.5, torch.tensor(levels[0], dtype=torch.float64))
    (gradient,) = torch.autograd.grad((SMOOTH.y - SMOOTH.operator(m)).norm(), parts)
    noise = (x - alpha**0.5 * m) / (1 - alpha) ** 0.5
    expected = alpha_next**0.5 * m + (1 - alpha_next) ** 0.5 * noise - zeta * torch.view_as_complex(gradient)
    torch.testing.assert_close(alpha_next**0.5 * (1 + levels[1]) * run.image, expected.detach(), rtol=0, atol=1e-12)


def test_pigdm_guides_by_the_gaussian_source_likelihood() -> None:
    """`m + sigma^2 score` with the likelihood of the flow package, in the space of y."""
    level, prior_std = torch.tensor(0.8, dtype=torch.float64), 0.6
    z = torch.randn(2, SIZE, SIZE, dtype=torch.complex128, generator=generator())
    denoise = SMOOTH.denoiser(SMOOTH.prior)
    variance = float(prior_std**2 * level**2 / (prior_std**2 + level**2))
    likelihood = GaussianSourceLikelihood(
        SMOOTH.y, SMOOTH.operator, 0.1, tau=1.0, denoiser=denoise, covariance=variance, **CONVERGED
    )
    run = bound(PiGDM(), SMOOTH, prior_std=prior_std)(
        y=SMOOTH.y, nfe=2, generator=generator(), start=z / (1 + level),
        schedule=lambda _: torch.stack([level / (1 + level), torch.zeros(()).double()]),
    )  # fmt: skip
    torch.testing.assert_close(run.image, denoise(z, level) + level**2 * likelihood.score(z, level), rtol=0, atol=1e-9)


def test_one_sampler_in_several_clothes() -> None:
    """DDIM is the Euler method on the rectified flow, and OT-ODE by Euler is PiGDM without fresh noise."""
    y, like = repeated(SMOOTH, 2), torch.zeros(2, SIZE, SIZE).cdouble()
    denoise = SMOOTH.denoiser(SMOOTH.prior)
    first = ddim(denoise, like, nfe=12, generator=generator(), schedule=RECTIFIED)
    assert first.times is not None
    velocity = probability_flow(Rectified(), on_path(Rectified(), denoise))
    euler = integrate(velocity, first.source, first.times)
    torch.testing.assert_close(first.stacked(), euler.stacked(), rtol=0, atol=1e-10)
    flow = bound(OTODE(), SMOOTH)(y=y, nfe=24, generator=generator())
    guided = bound(PiGDM(eta=0.0), SMOOTH)(y=y, nfe=24, generator=generator(), schedule=uniform(0.8), start=flow.source)
    torch.testing.assert_close(flow.stacked(), guided.stacked(), rtol=0, atol=1e-9)


def test_dds_takes_the_proximal_step_of_its_weight() -> None:
    """At the last step: the minimizer of `||A x - y||^2 + w ||x - m||^2`, dense."""
    run = bound(DDS(weight=0.2, **CONVERGED), SMOOTH)(y=SMOOTH.y, nfe=1, generator=generator(), schedule=uniform(0.5))
    m = SMOOTH.denoiser(SMOOTH.prior)(2 * run.source, torch.ones((), dtype=torch.float64)).flatten()
    a = SMOOTH.matrix
    expected = torch.linalg.solve(a.mH @ a + 0.2 * IDENTITY, a.mH @ SMOOTH.y.flatten() + 0.2 * m)
    torch.testing.assert_close(run.image.flatten(), expected, rtol=0, atol=1e-10)


# Biases: they must be there, with their sign


def test_projection_has_no_spread_and_no_shrinkage_where_it_measured() -> None:
    scan = SINGLE
    measured = torch.linalg.svd(scan.matrix, full_matrices=False)
    rows = measured.Vh[measured.S > 0.5]
    law = exact_law(bound(ScoreMRI(correctors=0), scan), scan, edm(), 30)
    posterior = scan.posterior
    assert float((rows @ law.covariance @ rows.mH).norm()) < 1e-12
    assert float((rows @ posterior.covariance @ rows.mH).trace().real) > 0.9 * len(rows) * 0.1**2 * 0.5
    data = torch.linalg.pinv(scan.matrix) @ scan.y.flatten()
    torch.testing.assert_close(rows @ law.mean, rows @ data, rtol=0, atol=1e-12)
    assert float((rows @ (posterior.mean - data)).norm() / (rows @ data).norm()) > 1e-3


def test_pnp_flow_loses_the_spread_of_what_it_measured_and_half_of_the_rest() -> None:
    measured = make_scan(scalar_prior(0.7), SIZE, coils=1, spacing=1, noise_std=0.3)
    few, many = (exact_law(bound(PnPFlow(), measured), measured, RECTIFIED, steps) for steps in (10, 40))
    assert 0.5 < float(many.covariance.trace().real / few.covariance.trace().real) < 0.7
    nothing = emptied(measured)
    free = compare(exact_law(bound(PnPFlow(), nothing), nothing, RECTIFIED, 40), nothing.prior)
    assert abs(free.trace - 0.5) < 0.05


def test_conditional_means_are_narrower_than_the_posterior() -> None:
    """DDS ends in a least-squares solution, Flower without its draw in a mean."""
    for sampler, schedule in ((DDS(weight=0.1**2, **CONVERGED), VP), (Flower(draw=False), RECTIFIED)):
        assert compare(exact_law(bound(sampler, SMOOTH), SMOOTH, schedule, 40), SMOOTH.posterior).trace < 0.8


def test_dps_does_not_know_the_noise_of_the_data() -> None:
    """The same samples whatever the noise of y is: too narrow by far where the posterior is wide."""
    loud = Scan(SMOOTH.prior, SMOOTH.operator, SMOOTH.y, 2.0, SMOOTH.shape)
    run = bound(DPS(), loud)(y=repeated(loud, 500), nfe=40, generator=generator())
    score = compare(moments(run.image.flatten(1)), loud.posterior)
    assert score.trace < 0.6
    assert score.mean > 0.3


# The contract: budgets, seeds, restarts, errors


@pytest.mark.parametrize("nfe", [2, 9, 10])
@pytest.mark.parametrize("sampler", ALL, ids=name_of)
def test_a_budget_is_kept_and_counted(sampler: Sampler, nfe: int) -> None:
    """Against a count of forward and backward passes made by the denoiser itself."""
    exact, calls = SMOOTH.denoiser(SMOOTH.prior), [0]

    def denoise(z: Tensor, level: Tensor) -> Tensor:
        def count(_: Tensor) -> None:
            calls[0] += 1

        calls[0] += 1
        endpoint = exact(z, level)
        if endpoint.requires_grad:
            endpoint.register_hook(count)  # type: ignore[no-untyped-call]
        return endpoint

    run = sample(sampler, denoise, SMOOTH.operator, SMOOTH.y, noise_level=0.1, nfe=nfe, generator=generator())
    cost = 2 if isinstance(sampler, DPS | PiGDM | OTODE) else 1
    assert run.nfe == calls[0] == nfe // cost * cost if name_of(sampler) != "ScoreMRI" else (nfe + 1) // 2 * 2 - 1
    assert len(run.states) == len(run.endpoints) + 1
    if not isinstance(sampler, PnPFlow):
        assert run.times is not None
        assert len(run.times) == len(run.states)
        assert run.times[-1] == 0


@pytest.mark.parametrize("tableau", ["midpoint", "rk4"])
def test_the_budget_of_a_flow_counts_its_stages(tableau: str) -> None:
    run = bound(OTODE(tableau=TABLEAUX[tableau]), SMOOTH)(y=SMOOTH.y, nfe=30, generator=generator())
    stages = TABLEAUX[tableau].stages
    steps = len(run.states) - 1
    assert run.nfe == 2 * (stages * (steps - 1) + 1) <= 30
    assert 2 * (stages * steps + 1) > 30


@pytest.mark.parametrize("sampler", [ScoreMRI(correctors=0), *ALL[1:]], ids=name_of)
def test_same_seed_same_samples_and_a_start_goes_on(sampler: Sampler) -> None:
    """A run cut in two, with one generator, is the whole run."""
    cost = sampler.cost - sampler.spared
    run, y, times = bound(sampler, SINGLE), repeated(SINGLE, 2), uniform(0.9)(6)
    whole = run(y=y, nfe=6 * cost, generator=generator(5), schedule=lambda _: times)
    other = run(y=y, nfe=6 * cost, generator=generator(6), schedule=lambda _: times)
    noise = generator(5)
    half = run(y=y, nfe=4 * cost, generator=noise, schedule=lambda _: times[:5])
    rest = run(y=y, nfe=2 * cost, generator=noise, schedule=lambda _: times[4:], start=half.image)
    assert torch.equal(half.stacked(), whole.stacked()[:5])
    torch.testing.assert_close(rest.stacked(), whole.stacked()[4:], rtol=0, atol=1e-12)
    assert not torch.allclose(other.image, whole.image)


def test_bad_input_is_named() -> None:
    denoise, like = SMOOTH.denoiser(SMOOTH.prior), torch.zeros(1, SIZE, SIZE).cdouble()
    with pytest.raises(ConfigError, match="takes 2 evaluations; got a budget of 1"):
        bound(DPS(), SMOOTH)(y=SMOOTH.y, nfe=1, generator=generator())
    with pytest.raises(ConfigError, match="from below 1 to 0"):
        ddim(denoise, like, nfe=4, generator=generator(), schedule=follow(Rectified()))
    with pytest.raises(ConfigError, match="without a gradient"):
        sample(
            DPS(), torch.no_grad()(denoise), SMOOTH.operator, SMOOTH.y, noise_level=0.1, nfe=4, generator=generator()
        )
    with pytest.raises(ConfigError, match="a start is like A\\^H y"):
        bound(DDS(), SMOOTH)(y=SMOOTH.y, nfe=4, generator=generator(), start=like[:, 1:])
    with pytest.raises(ConfigError, match="shape and dtype that it gets"):
        ddim(lambda z, level: z.real, like, nfe=4, generator=generator())
    with pytest.raises(ConfigError, match="the width of a prior positive; got"):
        bound(Flower(), SMOOTH, prior_std=0)(y=SMOOTH.y, nfe=4, generator=generator())
    with pytest.raises(ConfigError, match="starts between"):
        uniform(1.0)


@pytest.mark.parametrize(
    ("sampler", "settings", "message"),
    [
        (DDS, {"eta": 1.5}, "eta of DDS must be between 0 and 1; got 1.5"),
        (DDIM, {"eta": -0.1}, "eta of DDIM must be between 0 and 1; got -0.1"),
        (PiGDM, {"iterations": 0}, "iterations of PiGDM must be finite and at least 1; got 0"),
        (PnPFlow, {"averages": 2.0}, "averages of PnPFlow must be a whole number; got 2.0"),
        (ScoreMRI, {"correctors": -1}, "correctors of ScoreMRI must be finite and not negative; got -1"),
        (DPS, {"strength": float("nan")}, "strength of DPS must be finite and not negative; got nan"),
        (Flower, {"draw": 1}, "draw of Flower must be true or false; got 1"),
    ],
)
def test_a_setting_out_of_its_range_is_named(sampler: type[Sampler], settings: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sampler(**settings)
