"""Scans off the grid: the transform against its sum, calibration, and radial and spiral scans end to end."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from laminar.classical import cg_sense_method, l1_wavelet_method, total_variation_method, zero_filled_method
from laminar.data.acquisition import acquisition_of
from laminar.data.acquisition.acquisition import sensitivities_of
from laminar.data.acquisition.file import measure_phantom
from laminar.data.formats import read, write_scan
from laminar.data.noncartesian import radial, spiral
from laminar.data.preparation import noise_std_of, prepare
from laminar.data.simulation import simulate_slice
from laminar.errors import ConfigError, DataFormatError, MissingExtraError
from laminar.geometry import NonCartesian, NonCartesianSeries
from laminar.models import RegularizerConfig, UnrolledConfig, UnrolledNetwork
from laminar.operators import NonUniform, fft2c, spectral_norm
from laminar.operators.nonuniform import density_weights
from laminar.reconstruction import reconstruct
from laminar.scan import Scan

SIZE, VOLUME = (12, 15), (6, 7, 8)


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.complex128) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "finufft", None)
    with pytest.raises(MissingExtraError, match=r"'finufft': pip install 'laminar-mri\[noncartesian\]'"):
        NonCartesian(radial(8, 24, SIZE), SIZE)


def compensated(weights: object) -> NonCartesian:
    return NonCartesian(radial(8, 24, SIZE), SIZE, weights)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: NonCartesian(torch.full((5, 2), 8.0), SIZE),
            "reaches to about 6, half the matrix; got 8 along y: are these rad",
        ),
        (lambda: NonCartesian(radial(8, 24, SIZE) / 30, SIZE), "per field of view .* got 0.25 along [yx]: are"),
        (lambda: NonCartesian(torch.zeros(5, 3), SIZE), r"\(sample, 2\), as \(y, x\); got"),
        (lambda: NonCartesian(torch.zeros(5, 2), VOLUME), r"\(sample, 3\), as \(z, y, x\); got"),
        (lambda: NonCartesian(torch.zeros(5, 2), (8,)), r"the size \(y, x\), a volume \(z, y, x\), of .*; got \(8,\)"),
        (lambda: NonCartesian(torch.zeros(5, 3), (2**21, 1, 1)), r"of at most 16777216 pixels; got \(2097152, 1, 1\)"),
        (lambda: NonCartesian(torch.full((5, 2), torch.nan), SIZE), "holds NaN"),
        (
            lambda: compensated(torch.ones(3)),
            r"floating-point \(sample,\) = \(192,\), as the trajectory; got torch.float32 \(3,",
        ),
        (lambda: compensated(torch.ones(192, dtype=torch.uint8)), "floating-point"),
        (lambda: compensated([1.0] * 192), "compensation must be a torch.Tensor; got list"),
        (
            lambda: compensated(torch.full((192,), 0.0)),
            "about one on a grid, and from 1e-09 to 1e.09 anywhere; got 0 to 0",
        ),
        (lambda: compensated(torch.full((192,), torch.nan)), "got nan to nan"),
        (
            lambda: NonCartesianSeries.of([radial(8, 24, SIZE)] * 2, SIZE, torch.ones(3, 192)),
            r"\(frame, sample\), of 2 frames; got torch.float32 \(3, 192\)",
        ),
        (lambda: radial(-3, 24, SIZE), "needs spokes > 0; got -3"),
        (lambda: spiral(4, 100, 0.0, SIZE), "needs turns > 0; got 0"),
    ],
)
def test_bad_trajectories_are_named(make: object, said: str) -> None:
    with pytest.raises((ConfigError, DataFormatError), match=said):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("size", [SIZE, VOLUME])
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_the_transform_is_its_sum_and_on_a_grid_the_discrete_one(dtype: torch.dtype, size: tuple[int, ...]) -> None:
    """Against the sum by definition, weighted; adjoint, Gram matrix and gradients in the image."""
    pytest.importorskip("finufft")
    tolerance = 2e-5 if dtype == torch.complex64 else 1e-9
    maps, x = draw(2, 3, *size, dtype=dtype), draw(2, *size, seed=1, dtype=dtype).requires_grad_()
    points = torch.rand(40, len(size), generator=torch.Generator().manual_seed(2), dtype=torch.float64) - 0.5
    points = points * torch.tensor(size)
    weights = 0.1 + torch.rand(40, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    operator = NonUniform(points, maps, weights=weights)
    y, x_ = operator(x), torch.meshgrid(*(torch.arange(n) - n // 2 for n in size), indexing="ij")
    grid = torch.stack(x_, -1).reshape(-1, len(size)).double()
    kernel = torch.exp(-2j * torch.pi * (points @ (grid / torch.tensor(size)).T)) / math.prod(size) ** 0.5
    kernel = weights.sqrt()[:, None] * kernel
    expected = torch.einsum("jn,bcn->bcj", kernel.to(dtype), (maps * x[:, None]).flatten(2))
    torch.testing.assert_close(y, expected, rtol=0, atol=tolerance)
    other = draw(*y.shape, seed=3, dtype=dtype)
    left, right = torch.vdot(other.flatten(), y.flatten()), torch.vdot(operator.adjoint(other).flatten(), x.flatten())
    assert abs(left - right) < 10 * tolerance * abs(left)
    torch.testing.assert_close(operator.gram(x), operator.adjoint(y), rtol=0, atol=10 * tolerance)
    mine, theirs = (torch.autograd.grad(part.abs().square().sum(), x, retain_graph=True)[0] for part in (y, expected))
    torch.testing.assert_close(mine, theirs, rtol=0, atol=10 * tolerance)
    on_grid = fft2c(maps * x[:, None], tuple(range(-len(size), 0))).flatten(2)
    torch.testing.assert_close(NonUniform(grid, maps)(x), on_grid, rtol=0, atol=tolerance)
    torch.testing.assert_close(density_weights(grid, size), torch.ones(len(grid)), rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", ["radial", "spiral"])
def test_scans_are_calibrated_and_reconstructed(kind: str) -> None:
    pytest.importorskip("finufft")
    size, noise_std = (48, 40), 0.005
    generator = torch.Generator().manual_seed(0)
    points = radial(40, 96, size) if kind == "radial" else spiral(8, 500, 4.0, size)
    coils = simulate_slice("brain", size, 4, 0.01, generator).coil_images[None]
    y = NonUniform(points, torch.ones(4, 1, *size, dtype=torch.complex64)).forward(coils[0])[None, :, 0]
    y = y + noise_std * draw(*y.shape, dtype=torch.complex64)
    scan = Scan(y, NonCartesian(points, size), noise_std=noise_std)
    truth = coils.abs().square().sum(1).sqrt()
    network = UnrolledNetwork(n_cascades=2, data_step="proximal")
    for method, most in ((cg_sense_method, 0.2), (total_variation_method, 0.2), (network, 0.6)):
        image = reconstruct(scan, method).image
        assert float((image.abs() - truth).norm() / truth.norm()) < most
    known = Scan(y, scan.geometry, noise_covariance=noise_std**2 * torch.eye(4, dtype=torch.complex64))
    torch.testing.assert_close(
        prepare(known).noise_level * prepare(known).scale,
        torch.tensor([scan.geometry.noise_gain]) / scan.geometry.norm,
    )


def test_the_image_to_be_found_is_what_a_complete_scan_shows() -> None:
    """No spoke reaches the corners of k-space: an image that had them would be another one, here by a further 0.06."""
    pytest.importorskip("finufft")
    measured = measure_phantom(acquisition_of("radial", {"spokes": 160}), "brain", (80, 88), 4, 1e-4, 1)
    image = reconstruct(measured.scan, cg_sense_method).magnitude
    assert float((image - measured.reference).norm() / measured.reference.norm()) < 0.065
    corner = fft2c(measured.images)[..., :12, :12]
    assert float(corner.abs().max()) < 1e-3


@pytest.mark.parametrize("coils", [1, 4])
def test_weighted_operators_have_a_norm_of_at_most_one_and_sparse_methods_converge(coils: int) -> None:
    pytest.importorskip("finufft")
    scan = measure_phantom(acquisition_of("radial", {"spokes": 64}), "brain", (64, 64), coils, 0.001, 1).scan
    problem = prepare(scan)
    assert 0.85 < float(spectral_norm(problem.operator, draw(1, 64, 64, dtype=torch.complex64), 100)) <= 1
    states = l1_wavelet_method(problem, weight=0.01).states
    assert float((states[-1] - states[-2]).norm()) < 0.05 * float(states[-1].norm())


def test_a_compensation_that_was_given_is_kept_in_a_file(tmp_path: Path) -> None:
    pytest.importorskip("finufft")
    scan = measure_phantom(acquisition_of("radial", {"spokes": 32}), "brain", (32, 32), 4, 0.01, 1).scan
    assert isinstance(scan.geometry, NonCartesian)
    ones = replace(scan, geometry=replace(scan.geometry, compensation=torch.ones(len(scan.geometry.trajectory))))
    for name, one in {"density": scan, "ones": ones}.items():
        write_scan(tmp_path / f"{name}.h5", one)
        assert torch.equal(read(tmp_path / f"{name}.h5").geometry.weights, one.geometry.weights)
    assert (ones.geometry.noise_gain, scan.geometry.noise_gain < 1) == (1, True)


@pytest.mark.parametrize(("kind", "side"), [("radial", 96), ("spiral", 128), ("spiral", 256)])
def test_the_faint_middle_of_an_object_is_not_cut_out(kind: str, side: int) -> None:
    pytest.importorskip("finufft")
    measured = measure_phantom(acquisition_of(kind, {}), "brain", (side, side), 8, 0.01, 0, 0)
    missing = measured.case().image == 0
    inside = measured.reference > 0.02 * measured.reference.max()
    assert int((missing & inside).sum()) < 0.01 * int(inside.sum())


def test_too_few_spokes_leave_no_center() -> None:
    pytest.importorskip("finufft")
    geometry = NonCartesian(radial(5, 48, (24, 24)), (24, 24))
    with pytest.raises(DataFormatError, match=r"in 90% of the 14 x 14 cells .* got 41%: bring sensitivities, or more"):
        prepare(Scan(draw(1, 2, 240, dtype=torch.complex64), geometry, noise_std=0.1))


@pytest.mark.parametrize(("name", "settings"), [("stack-of-stars", {"spokes": 16}), ("kooshball", {"spokes": 600})])
def test_volumes_are_calibrated_and_reconstructed(name: str, settings: dict[str, int]) -> None:
    pytest.importorskip("finufft")
    measured = measure_phantom(acquisition_of(name, {"slices": 16} | settings), "brain", (32, 36), 3, 0.005, 1)
    assert (measured.scan.geometry.kind, measured.scan.geometry.shape) == ("noncartesian-volume", (16, 32, 36))
    torch.manual_seed(0)
    config = UnrolledConfig(n_cascades=2, regularizer=RegularizerConfig(channels=[4, 4], neighbors=1))
    network = UnrolledNetwork(config=config)
    methods = {"zero-filled": zero_filled_method, "CG": cg_sense_method, "network": network}
    images = {each: reconstruct(measured.scan, method).magnitude for each, method in methods.items()}
    truth = measured.reference
    errors = {each: float((image - truth).norm() / truth.norm()) for each, image in images.items()}
    assert errors["CG"] < 0.2
    assert errors["network"] < errors["zero-filled"]


def test_frames_with_spokes_of_their_own_are_reconstructed_together() -> None:
    """Each frame along its own trajectory, the coils those of all frames; what time knows makes the image better."""
    pytest.importorskip("finufft")
    measured = measure_phantom(
        acquisition_of("radial-cine", {"frames": 4, "spokes": 10}), "cardiac", (48, 44), 4, 0.005, 1
    )
    scan, truth = measured.scan, measured.reference
    geometry = scan.geometry
    assert isinstance(geometry, NonCartesianSeries)
    assert (geometry.kind, geometry.shape, scan.n_coils) == ("noncartesian-cine", (4, 48, 44), 4)
    problem, x = prepare(scan), draw(1, 4, 48, 44, dtype=torch.complex64)
    for index, frame in enumerate(geometry.frames):
        apart = frame.operator(1, sensitivities_of(problem))(x[:, index]) / geometry.norm
        torch.testing.assert_close(problem.operator(x)[:, index], apart)
    alone, both = problem.operator, problem.operator.stack([problem.operator] * 2)
    y = alone(x)
    assert torch.equal(both(torch.cat([x, 2j * x])), torch.cat([y, 2j * y]))
    assert torch.equal(both.to("cpu").adjoint(torch.cat([y, y]))[1:], alone.adjoint(y))
    torch.testing.assert_close(alone.gram(x), alone.adjoint(y), rtol=0, atol=1e-4)
    other = prepare(
        measure_phantom(
            acquisition_of("radial-cine", {"frames": 4, "spokes": 11}), "cardiac", (48, 44), 4, 0.005, 1
        ).scan
    )
    with pytest.raises(ConfigError, match=r"scale|same trajectories"):
        alone.stack([alone, other.operator])
    still = Scan(scan.data.movedim(1, 2).flatten(2), geometry.gathered, noise_std=0.005)
    assert torch.equal(sensitivities_of(problem), sensitivities_of(prepare(still)))
    quiet = replace(scan, noise_std=None)
    assert noise_std_of(quiet) == noise_std_of(replace(still, noise_std=None))
    config = UnrolledConfig(
        n_cascades=2, regularizer=RegularizerConfig(channels=[4, 4], neighbors=1), source_motion_std=0.03
    )
    methods = {
        "alone": partial(cg_sense_method, weight=1e-3),
        "in time": partial(total_variation_method, weight=0.05),
        "network": UnrolledNetwork(config=config),
    }
    errors = {}
    for name, method in methods.items():
        image = reconstruct(scan, method).magnitude
        errors[name] = float((image - truth).norm() / truth.norm())
    assert errors["in time"] < 0.8 * errors["alone"] < 0.3
    assert errors["network"] < errors["alone"]


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ((), "with as many samples; got none"),
        ((radial(8, 24, SIZE), radial(9, 24, SIZE)), "got 192 samples of (12, 15), 216 samples of (12, 15)"),
    ],
)
def test_frames_that_differ_are_refused(frames: tuple[Tensor, ...], said: str) -> None:
    pytest.importorskip("finufft")
    with pytest.raises(DataFormatError, match=re.escape(said)):
        NonCartesianSeries.of(frames, SIZE)
