"""One way from an acquisition to the normalized problem, and streams that depend on nothing but their seed."""

from pathlib import Path

import numpy as np
import pytest
import torch

from laminar.acquisition import Acquisition
from laminar.data.formats import write_fastmri
from laminar.data.masks import make_mask
from laminar.data.preparation import prepare
from laminar.data.simulation import simulate_slice
from laminar.data.stream import FileStream, SamplingConfig, SimulationConfig, SimulationStream, Stream
from laminar.errors import ConfigError, DataFormatError
from laminar.operators import fft2c, ifft2c

LINES = SamplingConfig(kinds=["equispaced-fraction"], acceleration=(2.0, 4.0))


def simulated(matrix: tuple[int, int] = (48, 40), coils: int = 4, seed: int = 0) -> Acquisition:
    return simulate_slice("brain", matrix, coils, 0.01, torch.Generator().manual_seed(seed)).sample().acquisition


def test_the_scale_is_taken_out_and_does_not_depend_on_the_mask() -> None:
    scan = simulated()
    masks = [make_mask("equispaced-fraction", scan.matrix, r, 10, 0) for r in (1.0, 2.0, 3.5)]
    problems = [prepare(scan.undersample(mask)) for mask in masks]
    louder = prepare(Acquisition(1e-5 * scan.kspace * masks[2], masks[2]))
    torch.testing.assert_close(louder.kspace, problems[2].kspace, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(louder.scale, 1e-5 * problems[2].scale)
    torch.testing.assert_close(louder.noise_level, problems[2].noise_level, rtol=1e-3, atol=0)
    torch.testing.assert_close(problems[1].scale, problems[2].scale)
    image = ifft2c(problems[0].kspace).abs().square().sum(1).sqrt()
    assert 0.8 < float(image.quantile(0.99)) < 1.5


def test_maps_fit_the_data_and_the_operator_is_a_contraction() -> None:
    problem = prepare(simulated())
    image = problem.operator.adjoint(problem.kspace)
    residual = problem.operator.forward(image) - problem.kspace
    assert float(residual.norm() / problem.kspace.norm()) < 0.1
    power = problem.sensitivities.abs().square().sum(1)
    assert bool(((power - 1).abs() < 1e-4).logical_or(power == 0).all())


def test_given_sensitivities_and_noise_are_used() -> None:
    scan = simulated()
    maps = torch.full_like(scan.kspace, 0.5)
    problem = prepare(Acquisition(scan.kspace, scan.mask, sensitivities=maps, noise_std=0.25))
    assert torch.equal(problem.sensitivities, maps)
    torch.testing.assert_close(problem.noise_level * problem.scale, torch.tensor([0.25]))


def test_a_scan_without_calibration_lines_is_refused() -> None:
    scan = simulated()
    mask = torch.zeros(scan.matrix, dtype=torch.bool)
    mask[:, ::4] = True
    with pytest.raises(DataFormatError, match="calibration"):
        prepare(scan.undersample(mask))


def streams(tmp_path: Path) -> list[Stream]:
    paths = []
    for seed in range(2):
        scan = simulate_slice("knee", (40, 36), 3, 0.01, torch.Generator().manual_seed(seed)).sample().acquisition
        paths.append(tmp_path / f"{seed}.h5")
        write_fastmri(paths[-1], scan)
    simulation = SimulationConfig(matrices=[(40, 48)], coils=(2, 3), readout=32)
    every_kind = SamplingConfig(acceleration=(2.0, 3.0), calibration_lines=(8, 10))
    return [SimulationStream(simulation, every_kind, 2, 5), FileStream(paths, LINES, 2, 5)]


def test_a_batch_depends_on_seed_and_index_alone(tmp_path: Path) -> None:
    for stream in streams(tmp_path):
        first = [stream.batch(index) for index in range(4)]
        torch.manual_seed(123)
        np.random.seed(7)  # noqa: NPY002
        for index in (3, 0):
            again = stream.batch(index)
            assert torch.equal(again.problem.kspace, first[index].problem.kspace)
            assert torch.equal(again.target, first[index].target)
        assert not torch.equal(first[0].target, first[1].target) or first[0].target.shape != first[1].target.shape
        for batch in first:
            assert batch.target.shape == batch.problem.mask.shape
            assert bool((batch.problem.kspace.abs().sum(1) > 0).logical_not().logical_or(batch.problem.mask).all())


def test_files_must_be_there_and_fully_sampled(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least one file"):
        FileStream([], LINES, 1, 0)
    scan = simulated()
    write_fastmri(tmp_path / "half.h5", scan.undersample(make_mask("equispaced", scan.matrix, 2, 10, 0)))
    with pytest.raises(ConfigError, match="fully sampled"):
        FileStream([tmp_path / "half.h5"], LINES, 1, 0).batch(0)


def test_a_part_of_the_readout_is_a_part_of_the_image() -> None:
    scan = simulate_slice("brain", (48, 40), 3, 0.0, torch.Generator().manual_seed(0))
    part = scan.crop(-2, 10, 20)
    torch.testing.assert_close(part.coil_images, scan.coil_images[:, 10:30], rtol=1e-4, atol=1e-5)


def test_simulation_commits_no_inverse_crime() -> None:
    """k-space is a crop of a finer one: the coil images are not the phantom on the sampled grid times the maps."""
    scan = simulate_slice("brain", (48, 48), 4, 0.0, torch.Generator().manual_seed(0))
    wider = torch.nn.functional.pad(scan.clean, (24, 24, 24, 24))
    ringing = ifft2c(wider).abs().square().sum(0).sqrt()
    outside = ringing < 0.02 * ringing.max()
    assert float(ringing[outside].max()) > 0
    assert torch.allclose(fft2c(scan.coil_images), scan.clean, atol=1e-5)
    assert torch.equal(scan.kspace, scan.clean)


def test_noise_has_the_stated_covariance() -> None:
    scan = simulate_slice("abstract", (128, 96), 3, 0.05, torch.Generator().manual_seed(1))
    noise = (scan.kspace - scan.clean).flatten(1).to(torch.complex128)
    measured = noise @ noise.mH / noise.shape[1]
    spread = 4 * 0.05**2 / noise.shape[1] ** 0.5
    assert float((measured - scan.covariance).abs().max()) < spread
