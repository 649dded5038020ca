"""Every method behind its name: the same shape of answer, the budget kept, exact where the posterior is known."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from laminar.data.masks import make_mask
from laminar.data.preparation import Problem, prepare
from laminar.data.simulation import simulate_slice
from laminar.errors import CheckpointError, ConfigError
from laminar.methods import Method, MirroredMethod, NetworkMethod, PosteriorMean, open_method
from laminar.methods.mirrored import MIRRORS, mirrored
from laminar.models import Prior, UnrolledNetwork, VarNet, save
from laminar.operators import Encoding
from laminar.reconstruction import reconstruct
from laminar.registry import CLASSICAL, METHODS, PRESETS, SAMPLERS, resolve
from laminar.scan import Scan, cartesian
from laminar.theory import Gaussian, OracleRegularizer, matrix_of


@pytest.fixture(scope="module")
def scan() -> Scan:
    simulated = simulate_slice("brain", (48, 40), 4, 0.01, torch.Generator().manual_seed(0))
    mask = make_mask("equispaced", (48, 40), 2, 12, 0)
    return cartesian(simulated.kspace[None] * mask, mask, noise_std=0.01)


@pytest.fixture(scope="module")
def problem(scan: Scan) -> Problem:
    return prepare(scan)


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An untrained prior: the exact denoiser of white images."""
    folder = tmp_path_factory.mktemp("models") / "prior"
    save(Prior(channels=[4, 6]), folder)
    return str(folder)


def test_every_name_stands_for_an_object() -> None:
    for table in (CLASSICAL, SAMPLERS, PRESETS):
        for name in table:
            assert resolve(table, name, "name") is not None


@pytest.mark.parametrize("name", METHODS)
def test_every_method_gives_a_trajectory(name: str, problem: Problem, prior: str, tiny_model: Path) -> None:
    """Complex images of the problem's size, within the budget, the same for the same generator and batch by batch."""
    if name in ("low-rank", "filtered-back-projection", "expectation-maximization"):
        pytest.skip("of another geometry: tests/test_series.py, test_tomography.py, test_emission.py")
    given = {"prior": prior, "nfe": 6} if name in SAMPLERS else {}
    method = open_method(name, **given, **({"model": str(tiny_model)} if name == "network" else {}))
    with torch.no_grad():
        first, again = method(problem), method(problem)
    assert first.image.shape == (1, 48, 40)
    assert first.image.dtype == torch.complex64
    assert torch.equal(first.image, again.image)
    assert bool(torch.isfinite(torch.view_as_real(first.image)).all())
    assert len(first.endpoints) in (0, len(first.states) - 1)
    if name in SAMPLERS:
        assert method.draws
        assert 1 <= first.nfe <= 6
        other = method.draw(problem, torch.Generator().manual_seed(1))
        assert not torch.equal(other.image, first.image)
        assert method.settings.items() >= {"nfe": 6}.items()
    assert (method.parameters > 0) == (method.fingerprint is not None) == (name == "network" or name in SAMPLERS)


def error_of(method: Method, mask: str) -> float:
    """Relative error on a simulated scan of eight coils at R = 4; NaN if the image is not finite."""
    simulated = simulate_slice("brain", (64, 64), 8, 0.01, torch.Generator().manual_seed(0))
    sampled = make_mask(mask, (64, 64), 4, 8, 0)
    problem = prepare(cartesian(simulated.kspace[None] * sampled, sampled, noise_std=0.01))
    with torch.no_grad():
        image = method(problem).image.abs()
    target = simulated.coil_images.abs().square().sum(0).sqrt() / problem.scale
    return float((image - target).norm() / target.norm())


@pytest.mark.parametrize("mask", ["equispaced", "poisson"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_works_as_it_comes(name: str, mask: str) -> None:
    """Defaults alone, and the prior that ships."""
    assert error_of(open_method(name), mask) < 0.5


@pytest.mark.parametrize("mask", ["equispaced", "poisson"])
def test_dds_without_its_penalty_works_too(mask: str) -> None:
    """The noiseless limit w = 0: a few iterations on a singular system."""
    assert error_of(open_method("dds", settings={"weight": 0}), mask) < 0.5


Draws = Callable[[int], torch.Tensor]


def test_a_sampling_network_gives_the_exact_mean_at_once_and_exact_samples() -> None:
    """In a Gaussian world, around the oracle: mean in one evaluation 1e-10, from the quiet source, which only there
    flows to the mean, 1e-6; covariance of 20,000 samples."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, dtype=torch.complex128, generator=generator)

    root = random(6, 6)
    law = Gaussian(random(6), 0.1 * root @ root.mH + 0.2 * torch.eye(6))
    maps, mask = random(1, 2, 2, 3), torch.tensor([[[True, False, True], [False, True, False]]])
    operator = Encoding(mask, maps)
    y = operator.forward(random(1, 2, 3))
    posterior, tau = law.given(matrix_of(operator, (2, 3)), y.flatten(), 0.5), 0.8
    settings = {"data_step": "none", "shared": True, "solver": "rk4", "source": "zero-filled", "source_noise": tau}
    oracle = OracleRegularizer(posterior, operator.adjoint(y)[0], tau)
    network = UnrolledNetwork(oracle, n_cascades=24, **settings).double()
    method = NetworkMethod(network)
    level = torch.full((1,), 0.5, dtype=torch.float64)
    problem = Problem(y, Encoding(mask, maps), level, torch.ones(1, dtype=torch.float64))
    torch.testing.assert_close(method(problem).image.flatten(), posterior.mean, rtol=0, atol=1e-6)
    mean = PosteriorMean(network)(problem)
    torch.testing.assert_close(mean.image.flatten(), posterior.mean, rtol=0, atol=1e-10)
    assert (mean.nfe, len(mean.states)) == (1, 2)
    many = replace(problem, y=y.expand(20_000, -1, -1, -1), noise_level=level.expand(20_000))
    assert method.draws
    with torch.no_grad():
        samples = method.draw(many, generator).image.flatten(1)
    assert float((samples.mean(0) - posterior.mean).norm() / posterior.covariance.trace().real.sqrt()) < 0.02
    assert float((samples.T.cov() - posterior.covariance).norm() / posterior.covariance.norm()) < 0.03


def test_reconstruction_with_samples(scan: Scan, prior: str) -> None:
    """The image is their mean, in the units of the scan; sample i is the same however many there are."""
    method = open_method("flower", prior=prior, nfe=4)
    few = reconstruct(scan, method, samples=2, seed=3)
    more = reconstruct(scan, method, samples=3, seed=3)
    other = reconstruct(scan, method, samples=2, seed=4)
    assert few.spread is not None
    assert more.spread is not None
    assert (few.spread.n, more.spread.n, few.nfe, more.nfe) == (2, 3, 8, 12)
    assert few.spread.std.shape == few.image.shape
    # Two magnitudes of mean m and deviation s are m - s / sqrt 2 and m + s / sqrt 2, and both are among the three.
    third = 3 * more.spread.mean - 2 * few.spread.mean
    squares = 2 * more.spread.std**2 + 3 * more.spread.mean**2 - few.spread.std**2 - 2 * few.spread.mean**2
    torch.testing.assert_close(third**2, squares, rtol=1e-3, atol=1e-4)
    assert not torch.equal(few.image, other.image)
    bigger = reconstruct(replace(scan, data=100 * scan.kspace, noise_std=1.0), method, samples=2, seed=3)
    assert bigger.spread is not None
    torch.testing.assert_close(bigger.spread.std / 100, few.spread.std, rtol=1e-2, atol=1e-3)
    torch.testing.assert_close(bigger.image / 100, few.image, rtol=1e-2, atol=1e-3)


def test_a_learned_sensitivity_network_is_a_method(problem: Problem, scan: Scan) -> None:
    torch.manual_seed(0)
    method = NetworkMethod(VarNet(n_cascades=2, channels=2, pools=1, sensitivity_channels=2, sensitivity_pools=1))
    assert not method.draws
    with torch.no_grad():
        assert len(method(problem).states) == 3
    assert reconstruct(scan, method).image.shape == (1, 48, 40)
    with pytest.raises(ConfigError, match="n_cascades must be a whole number of at least 1; got 0"):
        method(problem, n_cascades=0)


def test_what_is_made_of_a_method_has_its_settings_and_its_kind_of_image(problem: Problem) -> None:
    method = open_method("cg-sense", settings={"weight": 0.3})
    assert MirroredMethod(method).settings == method.settings
    size = {"n_cascades": 1, "channels": 2, "pools": 1, "sensitivity_channels": 2, "sensitivity_pools": 1}
    published = NetworkMethod(VarNet(**size, root_sum_of_squares=True))  # its image is none of its states
    with torch.no_grad():
        images = [published(mirrored(problem, axes)).image.flip(axes) for axes in MIRRORS]
        torch.testing.assert_close(MirroredMethod(published)(problem).image, torch.stack(images).mean(0))


def test_what_does_not_fit_is_refused(scan: Scan, prior: str, tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape("unknown method 'flour'; did you mean 'flower'?")):
        open_method("flour")
    with pytest.raises(ConfigError, match="nfe 5 does nothing with method 'cg-sense'"):
        open_method("cg-sense", nfe=5)
    with pytest.raises(ConfigError, match="method 'dds' has no setting 'wieght'; did you mean 'weight'"):
        open_method("dds", prior=prior, settings={"wieght": 1})
    with pytest.raises(ConfigError, match="eta of method 'dds' must be between 0 and 1"):
        open_method("dds", prior=prior, settings={"eta": 1.5})
    with pytest.raises(ConfigError, match="needs at least 2 of them; got 1"):
        reconstruct(scan, open_method("flower", prior=prior, nfe=2), samples=1)
    with pytest.raises(ConfigError, match="draws no samples"):
        reconstruct(scan, open_method("network", model=str(tiny_model)), samples=4)
    with pytest.raises(CheckpointError):
        open_method("dds", prior=str(tiny_model))
    with pytest.raises(CheckpointError, match="prior"):
        open_method("network", model=prior)
    with pytest.raises(ConfigError, match="the source of this network has no noise"):
        PosteriorMean(UnrolledNetwork(n_cascades=2, shared=True))


@pytest.mark.parametrize("shape", [(48, 40), (47, 41)])
def test_mirrored_scans_give_mirrored_images(shape: tuple[int, int], tiny_model: Path) -> None:
    """The mirrored problem is what a scan of the mirrored object is, and the mean over mirrors does not care."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, *shape, dtype=torch.complex64, generator=generator)
    maps = torch.randn(1, 3, *shape, dtype=torch.complex64, generator=generator) / 2
    mask = torch.rand(1, *shape, generator=generator) < 0.5
    operator = Encoding(mask, maps)
    problem = Problem(operator(image), operator, torch.full((1,), 0.1), torch.ones(1))
    method = MirroredMethod(open_method("network", model=str(tiny_model)))
    with torch.no_grad():
        found = method(problem).image
        for axes in MIRRORS:
            other = mirrored(problem, axes)
            torch.testing.assert_close(other.operator(image.flip(axes)), other.y, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(method(other).image.flip(axes), found, rtol=1e-4, atol=1e-5)
