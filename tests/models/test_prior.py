"""A prior: exact before training, the preconditioning of EDM, and one denoiser for every path."""

import math

import pytest
import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.flow import integrate
from laminar.flow.gaussian_paths import GaussianPath, VarianceExploding, VariancePreserving
from laminar.models import Prior, PriorConfig
from laminar.samplers import RECTIFIED, VP, Schedule, ddim, edm
from laminar.theory import Gaussian
from laminar.theory.conversions import Rectified, by_noise_level, on_path, probability_flow

SMALL = PriorConfig(sigma_data=0.3, channels=[4, 6], embedding=8)
PATHS = [Rectified(), VariancePreserving(), VarianceExploding()]


def awake(**settings: object) -> Prior:
    """A prior in double precision with random weights: it starts silent."""
    torch.manual_seed(0)
    prior = Prior(SMALL, **settings).double()
    for parameter in prior.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return prior


def images(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(1))


def test_untrained_it_is_the_exact_denoiser_of_white_images() -> None:
    z, level = images(3, 3, 4), torch.tensor([1e-3, 0.4, 90.0], dtype=torch.float64)
    white = Gaussian(torch.zeros(12).cdouble(), 0.3**2 * torch.eye(12).cdouble())
    exact = torch.cat([white.given(torch.eye(12).cdouble(), x.flatten(), s).mean[None] for x, s in zip(z, level)])  # noqa: B905
    torch.testing.assert_close(Prior(SMALL).double()(z, level).flatten(1), exact, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("schedule", "nfe", "tolerance"), [(VP, 99, 0.1), (RECTIFIED, 99, 0.15), (edm(), 99, 0.1)])
def test_samples_by_ddim_have_the_covariance_of_the_images(schedule: Schedule, nfe: int, tolerance: float) -> None:
    """All unit noises through a linear sampler: C = M M^H, exact up to the error of its steps, of first order."""
    like = torch.zeros(16, 4, 4, dtype=torch.complex128)
    unit = torch.eye(16, dtype=like.dtype).view_as(like)
    errors = []
    for steps in (nfe, 4 * nfe):
        rows = ddim(Prior(SMALL).double(), like, nfe=steps, generator=lambda _: unit, schedule=schedule).image.flatten(
            1
        )
        errors.append(float((rows.T @ rows.conj() / 0.3**2 - torch.eye(16)).abs().max()))
    assert errors[0] < tolerance
    assert errors[1] == pytest.approx(errors[0] / 4, rel=0.15)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: type(path).__name__)
@torch.no_grad()
def test_every_path_is_a_view_of_it(path: GaussianPath) -> None:
    """The flow of white images scales them by the standard deviation, sqrt(a^2 sigma_data^2 + b^2); Heun finds it."""
    times = torch.linspace(0.9, 0.1, 401, dtype=torch.float64)
    a, b, _, _ = path.at(times[[0, -1]])
    width = (0.3**2 * a**2 + b**2).sqrt()
    start, flow = images(1, 5, 6), probability_flow(path, on_path(path, Prior(SMALL).double()))
    end = integrate(flow, start, times, "heun").image
    torch.testing.assert_close(end, start * width[1] / width[0], rtol=2e-4, atol=0)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: type(path).__name__)
@torch.no_grad()
def test_to_a_path_and_back_is_the_prior(path: GaussianPath) -> None:
    prior, z, level = awake(), images(2, 7, 5), torch.tensor([0.05, 4.0], dtype=torch.float64)
    back = by_noise_level(path, on_path(path, prior))
    torch.testing.assert_close(back(z, level), prior(z, level), rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_the_network_sees_unit_variance_and_the_log_of_the_level() -> None:
    prior, x0, level = awake(), 0.3 * images(2, 64, 64), torch.tensor([0.02, 2.0], dtype=torch.float64)
    seen: list[Tensor] = []
    prior.network.register_forward_hook(lambda module, inputs, result: seen.extend([*inputs, result]))
    z = x0 + level[:, None, None] * images(4, 64, 64)[2:]
    denoised = prior(z, level)
    x, c, shape = seen
    assert x.abs().square().mean((1, 2)).tolist() == pytest.approx([1, 1], rel=0.05)
    torch.testing.assert_close(c, (level / 0.3).log() / 4)
    total = (level**2 + 0.3**2).sqrt()[:, None, None]
    expected = 0.09 / total**2 * z + level[:, None, None] * 0.3 / total * shape
    torch.testing.assert_close(denoised, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(16, 16), (13, 10), (1, 7)])
@torch.no_grad()
def test_any_size_and_any_level(shape: tuple[int, int]) -> None:
    prior, z = awake(channels=[4, 6, 8]), images(2, *shape)
    one = prior(z, 0.5)
    assert one.shape == z.shape
    torch.testing.assert_close(one, prior(z, torch.tensor([0.5, 0.5])), rtol=1e-12, atol=0)
    assert not torch.allclose(one, prior(z, 0.51))
    torch.testing.assert_close(prior(z, 0.0), z)
    assert bool(torch.isfinite(torch.view_as_real(prior(1e6 * z, 1e6))).all())


def test_images_do_not_mix() -> None:
    prior, z, level = awake(), images(3, 8, 8), torch.tensor([0.1, 1.0, 3.0], dtype=torch.float64)
    alone = torch.cat([prior(z[[k]], level[[k]]) for k in range(3)])
    torch.testing.assert_close(prior(z, level), alone, rtol=1e-10, atol=1e-12)


def test_half_precision_gives_complex_float() -> None:
    z = images(2, 8, 8).to(torch.complex64)
    with torch.autocast("cpu", torch.bfloat16):
        assert Prior(SMALL)(z, 1.0).dtype == torch.complex64


def test_wrong_input_and_settings_are_named() -> None:
    prior, z = Prior(SMALL), torch.zeros(2, 8, 8, dtype=torch.complex64)
    for image, level in [(z[0], 1.0), (z, torch.ones(3)), (z, torch.ones(2, 1, 1))]:
        with pytest.raises(ConfigError, match="takes images"):
            prior(image, level)
    for name, value in {"sigma_data": math.nan, "channels": [], "fold": 0, "embedding": 0.5}.items():
        with pytest.raises(ConfigError, match=name):
            Prior(SMALL, **{name: value})
    with pytest.raises(ConfigError, match="did you mean 'channels'"):
        Prior(SMALL, channel=[4])
