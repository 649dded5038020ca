"""Tomography: the projector against others, filtered back-projection, sparse views and few photons end to end."""

from __future__ import annotations

import math
import pickle
from copy import copy

import numpy as np
import pytest
import torch
from skimage.transform import iradon, radon
from torch import Tensor

from laminar.classical import cg_sense_method, filtered_back_projection_method, total_variation_method
from laminar.classical.backprojection import filtered_back_projection
from laminar.data.preparation import prepare
from laminar.data.simulation.phantoms import phantom
from laminar.data.simulation.transmission import transmission
from laminar.errors import ConfigError, DataFormatError
from laminar.geometry import Linear, Tomography
from laminar.models import UnrolledNetwork
from laminar.operators import Beam, Convolution, Projector, gaussian
from laminar.reconstruction import reconstruct
from laminar.scan import Scan

N = 48


def half_turn(views: int) -> Tensor:
    return math.pi / views * torch.arange(views)


def blob(n: int, y: float, x: float, width: float) -> Tensor:
    rows, columns = (torch.arange(n, dtype=torch.float64) - n // 2 - center for center in (y, x))
    return torch.exp(-(rows[:, None] ** 2 + columns**2) / (2 * width**2))


def test_parallel_beam_agrees_with_scikit_image_and_the_exact_transform() -> None:
    image = blob(64, -5, 8, 5) + 0.5 * blob(64, 3, -10, 4)
    angles = half_turn(30)
    rows, columns = torch.meshgrid(torch.arange(64) - 32, torch.arange(64) - 32, indexing="ij")
    mine = Projector(Beam(angles, 64), (64, 64))(image[None])[0]
    image[(rows**2 + columns**2) > 31**2] = 0  # nothing to see, but scikit-image warns
    theirs = radon(image.numpy(), np.rad2deg(angles.numpy()), circle=True, preserve_range=True).T
    np.testing.assert_allclose(mine, theirs, atol=2e-3 * theirs.max())
    place = torch.arange(64) - 32 - (8 * angles.cos() + 5 * angles.sin())[:, None]
    other = torch.arange(64) - 32 - (-10 * angles.cos() - 3 * angles.sin())[:, None]
    root = math.sqrt(2 * math.pi)
    exact = 5 * root * torch.exp(-(place**2) / 50) + 0.5 * 4 * root * torch.exp(-(other**2) / 32)
    torch.testing.assert_close(mine.float(), exact.float(), rtol=0, atol=4e-3 * float(exact.max()))


def test_fan_beam_measures_the_same_lines_as_a_parallel_one() -> None:
    """Each ray of the fan at its own angle and distance, of the exact transform of a blob."""
    beam = Beam(2 * half_turn(20), 60, 2.0, source=90.0, detector=60.0)
    mine = Projector(beam, (64, 64))(blob(64, -5, 8, 5)[None])[0]
    slope = beam.bin_positions / 150
    distance = 90 * slope / (1 + slope**2).sqrt()
    angle = beam.angles[:, None].double() + slope.atan()
    place = distance - (8 * angle.cos() + 5 * angle.sin())
    exact = 5 * math.sqrt(2 * math.pi) * torch.exp(-(place**2) / 50)
    torch.testing.assert_close(mine.double(), exact, rtol=0, atol=4e-3 * float(exact.max()))


@pytest.mark.parametrize(
    "beam",
    [
        Beam(half_turn(120), 92),
        Beam(half_turn(120), 184, 0.5),
        Beam(2 * half_turn(240), 80, 2.0, source=90.0, detector=60.0),
    ],
    ids=["parallel", "fine", "fan"],
)
def test_filtered_back_projection_inverts(beam: Beam) -> None:
    image = blob(64, -5, 8, 5) + 0.5 * blob(64, 3, -10, 4)
    found = filtered_back_projection(Projector(beam, (64, 64))(image[None]), beam, (64, 64))[0]
    assert float((found - image).norm() / image.norm()) < 0.02
    if beam.spacing == 1:
        sinogram = Projector(beam, (64, 64))(image[None])[0].numpy().T
        theirs = iradon(sinogram, np.rad2deg(beam.angles.numpy()), 64, circle=False, preserve_range=True)
        np.testing.assert_allclose(found, theirs, atol=0.02)


def measured(views: int, photons: float) -> tuple[Scan, Tensor]:
    generator = torch.Generator().manual_seed(0)
    image = 0.05 * phantom("brain", (N, N), generator).abs()[None]
    projector = Projector(Beam(half_turn(views), 70), (N, N))
    y, weights = transmission(projector(image), photons, generator)
    return Scan(y, Tomography(projector, weights), noise_std=1.0), image


@pytest.mark.parametrize(("views", "photons"), [(16, 1e5), (75, 1e3)], ids=["sparse views", "few photons"])
def test_every_method_takes_a_scan(views: int, photons: float) -> None:
    scan, truth = measured(views, photons)
    problem = prepare(scan)
    noise = problem.operator(truth / problem.scale) - problem.y
    assert float(noise.std()) == pytest.approx(float(problem.noise_level), rel=0.1), "white, of the level that is told"
    network = UnrolledNetwork(n_cascades=2, data_step="proximal")
    errors = {}
    for name, method in {
        "fbp": filtered_back_projection_method,
        "cg": cg_sense_method,
        "tv": total_variation_method,
        "network": network,
    }.items():
        image = reconstruct(scan, method).image
        assert image.shape == (1, N, N)
        assert image.dtype == torch.float32
        errors[name] = float((image - truth).norm() / truth.norm())
    assert errors["tv"] < errors["fbp"] < 1
    assert errors["network"] < 1


def test_weights_go_with_their_images() -> None:
    scan, _ = measured(16, 1e4)
    assert isinstance(scan.geometry, Tomography)
    both = Scan(
        torch.cat([scan.data, 2 * scan.data]),
        Tomography(scan.geometry.projector, torch.cat([scan.geometry.weights, scan.geometry.weights / 3])),  # type: ignore[list-item, operator]
        noise_std=1.0,
    )
    second = prepare(both.slice(1))
    torch.testing.assert_close(
        second.y * second.scale * both.slice(1).geometry.norm * 3, 2 * scan.data * scan.geometry.weights
    )


def test_a_projector_travels_as_its_beam() -> None:
    """From a process that prepares batches comes no matrix, and every time the same operator."""
    projector = Projector(Beam(2 * half_turn(5), 9, 2.0, 40.0, 20.0), (8, 8))
    first, second = copy(projector), copy(projector)  # as a pickle does
    assert first is second
    assert first.to("cpu") is not first
    assert len(pickle.dumps(projector)) < 1000
    x = torch.rand(1, 8, 8)
    assert torch.equal(first(x), projector(x))


BLURRED = Scan(torch.ones(1, 8, 8), Linear(Convolution(gaussian(0.5), (8, 8)), (8, 8)), noise_std=0.1)
PROJECTOR = Projector(Beam(half_turn(4), 10), (8, 8))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Beam(torch.linspace(0, 180, 9), 10), r"in radians .*; got 180: degrees\?"),
        (lambda: Beam(torch.tensor([torch.nan]), 10), "must be finite"),
        (lambda: Beam(torch.zeros(0), 10), r"one or more; got \(0,\)"),
        (lambda: Beam(half_turn(4), -3), "positive spacing; got -3 of 1"),
        (lambda: Beam(half_turn(4), 10, source=-1.0), "at a positive and a finite distance; got -1"),
        (lambda: Projector(Beam(half_turn(4), 1, source=0.01, detector=0.0), (0, 4)), "no ray of the beam meets"),
        (lambda: Scan(torch.ones(1, 4, 9), Tomography(PROJECTOR)), r"must be \(image, 4, 10\), as the beam; got"),
        (lambda: Scan(torch.ones(1, 4, 10), Tomography(PROJECTOR, -torch.ones(1, 4, 10))), "not negative"),
        (lambda: Scan(torch.ones(1, 4, 10), Tomography(PROJECTOR, torch.ones(4, 10))), r"weights must be \(image, 4"),
        (
            lambda: transmission(torch.ones(1, 4, 10), -5.0, torch.Generator()),
            "positive number of photons a bin; got -5",
        ),
        (lambda: filtered_back_projection_method(prepare(BLURRED)), "needs a scan of tomography; got a Convolution"),
    ],
)
def test_bad_input_is_named(make: object, said: str) -> None:
    with pytest.raises((ConfigError, DataFormatError), match=said):
        make()  # type: ignore[operator]
