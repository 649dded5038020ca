"""One way from a scan to the normalized problem, and streams that depend on nothing but their seed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch._utils import ExceptionWrapper

from laminar.data import cases
from laminar.data.cases import Case, FullScans
from laminar.data.config import SamplingConfig, SimulationConfig
from laminar.data.formats import Request, write_fastmri
from laminar.data.masks import make_mask
from laminar.data.preparation import noise_std_of, prepare
from laminar.data.simulated import Phantoms, SimulationStream
from laminar.data.simulation import simulate_slice
from laminar.data.simulation.phantoms import phantom
from laminar.data.simulation.receive import sensitivities
from laminar.data.stream import FileStream, Stream
from laminar.errors import ConfigError, DataFormatError
from laminar.operators import fft2c, ifft2c
from laminar.scan import Scan, cartesian
from laminar.training.config import DataConfig, TrainConfig
from laminar.training.data import prefetched, training_stream

LINES = SamplingConfig(kinds=["equispaced-fraction"], acceleration=(2.0, 4.0))


def simulated(matrix: tuple[int, int] = (48, 40), coils: int = 4, seed: int = 0) -> Scan:
    return simulate_slice("brain", matrix, coils, 0.01, torch.Generator().manual_seed(seed)).scan


def test_the_scale_is_taken_out_and_does_not_depend_on_the_mask() -> None:
    scan = simulated()
    masks = [make_mask("equispaced-fraction", scan.matrix, r, 10, 0) for r in (1.0, 2.0, 3.5)]
    problems = [prepare(scan.undersample(mask)) for mask in masks]
    louder = prepare(cartesian(1e-5 * scan.kspace * masks[2], masks[2]))
    torch.testing.assert_close(louder.y, problems[2].y, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(louder.scale, 1e-5 * problems[2].scale)
    torch.testing.assert_close(louder.noise_level, problems[2].noise_level, rtol=1e-3, atol=0)
    torch.testing.assert_close(problems[1].scale, problems[2].scale)
    image = ifft2c(problems[0].y).abs().square().sum(1).sqrt()
    assert 0.8 < float(image.quantile(0.99)) < 1.5


def test_maps_fit_the_data_and_the_operator_is_a_contraction() -> None:
    problem = prepare(simulated())
    image = problem.operator.adjoint(problem.y)
    residual = problem.operator.forward(image) - problem.y
    assert float(residual.norm() / problem.y.norm()) < 0.1
    power = problem.encoding.sensitivities.abs().square().sum(1)
    assert bool(((power - 1).abs() < 1e-4).logical_or(power == 0).all())


def test_given_sensitivities_and_noise_are_used() -> None:
    scan = simulated()
    maps = torch.full_like(scan.kspace, 0.5)
    problem = prepare(cartesian(scan.kspace, scan.mask, sensitivities=maps, noise_std=0.25))
    assert torch.equal(problem.encoding.sensitivities, maps)
    torch.testing.assert_close(problem.noise_level * problem.scale, torch.tensor([0.25]))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf, complex(0, torch.nan), complex(1, -torch.inf)])
def test_only_what_is_finite_is_a_scan_even_if_its_sum_is_not(bad: complex) -> None:
    kspace = torch.full((1, 2, 8, 8), 3e38, dtype=torch.complex64)
    assert not bool(kspace.sum().isfinite())
    whole = cartesian(kspace, torch.ones(8, 8, dtype=torch.bool))
    for place in ((0, 0, 0, 0), (0, 1, 7, 7)):
        spoiled = whole.kspace.clone()
        spoiled[place] = bad
        spoiled[0, 0, 3, 3] = -torch.inf
        with pytest.raises(DataFormatError, match="NaN or Inf"):
            whole.with_kspace(spoiled)


def test_what_is_no_tensor_and_what_does_not_fit_is_named() -> None:
    scan = simulated()
    problem = prepare(scan)
    array, mask = scan.kspace.numpy(), scan.mask
    refused: dict[str, Callable[[], Any]] = {
        "scan: data must be a torch.Tensor; got ndarray .torch.as_tensor": lambda: cartesian(array, mask),  # type: ignore[arg-type]
        "scan: mask must be a torch.Tensor; got ndarray": lambda: cartesian(scan.kspace, mask.numpy()),  # type: ignore[arg-type]
        "must be finite and not negative; got 'loud'": lambda: replace(scan, noise_std="loud"),
        "y of a Problem must be a torch.Tensor": lambda: replace(problem, y=array),
        "noise_level of a Problem must be a torch.Tensor; got float$": lambda: replace(problem, noise_level=0.1),
        r"scale must be \(batch,\) = \(1,\), or \(1,\); got \(3,\)": lambda: replace(problem, scale=torch.ones(3)),
    }
    for said, make in refused.items():
        with pytest.raises(DataFormatError, match=said):
            make()


def test_a_scan_without_calibration_lines_is_refused() -> None:
    scan = simulated()
    mask = torch.zeros(scan.matrix, dtype=torch.bool)
    mask[:, ::4] = True
    with pytest.raises(DataFormatError, match="calibration"):
        prepare(scan.undersample(mask))


def streams(tmp_path: Path) -> list[Stream]:
    paths = []
    for seed in range(2):
        scan = simulate_slice("knee", (40, 36), 3, 0.01, torch.Generator().manual_seed(seed)).scan
        paths.append(tmp_path / f"{seed}.h5")
        write_fastmri(paths[-1], scan)
    simulation = SimulationConfig(matrices=[(40, 48)], coils=(2, 3), readout=32)
    every_kind = SamplingConfig(acceleration=(2.0, 3.0), calibration_lines=(8, 10))
    return [
        SimulationStream(Phantoms(simulation.anatomy, simulation.matrices), simulation, every_kind, 2, 5),
        FileStream(FullScans(paths), LINES, 2, 5),
    ]


def test_a_batch_depends_on_seed_and_index_alone(tmp_path: Path) -> None:
    for stream in streams(tmp_path):
        first = [stream.batch(index) for index in range(4)]
        torch.manual_seed(123)
        np.random.seed(7)  # noqa: NPY002
        for index in (3, 0):
            again = stream.batch(index)
            assert torch.equal(again.problem.y, first[index].problem.y)
            assert torch.equal(again.image, first[index].image)
        assert not torch.equal(first[0].image, first[1].image) or first[0].image.shape != first[1].image.shape
        for batch in first:
            assert batch.image.shape == batch.problem.encoding.mask.shape
            assert bool((batch.problem.y.abs().sum(1) > 0).logical_not().logical_or(batch.problem.encoding.mask).all())


def test_files_must_be_there_and_fully_sampled(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least one file"):
        FileStream(FullScans([]), LINES, 1, 0)
    scan = simulated()
    write_fastmri(tmp_path / "half.h5", scan.undersample(make_mask("equispaced", scan.matrix, 2, 10, 0)))
    with pytest.raises(ConfigError, match="fully sampled"):
        FileStream(FullScans([tmp_path / "half.h5"]), LINES, 1, 0).batch(0)


def test_all_files_are_looked_at_before_any_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Notes beside scans are no scans; a broken scan is one, and of what is wrong one line says all."""
    scan = simulated()
    for name in ("a", "z"):
        write_fastmri(tmp_path / f"{name}.h5", scan)
    (tmp_path / "README.txt").write_text("of 2026")
    config = TrainConfig(data=DataConfig(kind="files", train=[str(tmp_path)]))
    assert isinstance(training_stream(config), FileStream)
    (tmp_path / "cut.h5").write_bytes((tmp_path / "a.h5").read_bytes()[:3000])
    write_fastmri(tmp_path / "half.h5", scan.undersample(make_mask("equispaced", scan.matrix, 2, 10, 0)))
    np.save(tmp_path / "nan.npy", np.full((8, 8), np.nan + 0j))
    monkeypatch.setattr(FileStream, "batch", None)
    for broken, said in (("cut.h5", "truncated or corrupt"), ("half.h5", "R = 1."), ("nan.npy", "NaN or Inf")):
        with pytest.raises(ConfigError, match=rf"{broken}: .*{said}[^\n]*$") as caught:
            training_stream(config)
        others = 2 - ("cut.h5", "half.h5", "nan.npy").index(broken)
        assert (f"(and {others} other file{'s' * (others > 1)} cannot be used)" in str(caught.value)) == (others > 0)
        (tmp_path / broken).unlink()
    training_stream(config)


def test_the_noise_of_a_file_is_measured_once_however_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(2):
        write_fastmri(tmp_path / f"{seed}.h5", replace(simulated(seed=seed), noise_std=None))
    paths, measured = sorted(tmp_path.iterdir()), []
    monkeypatch.setattr(cases, "KEPT", 1)
    monkeypatch.setattr(cases, "noise_std_of", lambda scan: measured.append(scan.name) or noise_std_of(scan))
    stream = FileStream(FullScans(paths), LINES, 1, 0)
    found = [stream.batch(index) for index in range(6)]
    assert sorted(measured) == ["0", "1"]
    fresh = FileStream(FullScans(paths), LINES, 1, 0).batch(5)
    assert torch.equal(fresh.problem.noise_level, found[5].problem.noise_level)


class Refusing:
    def batch(self, index: int) -> Case:
        raise ConfigError(f"a.h5: batch {index} is refused")


def test_what_a_worker_refuses_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch raises it again here, with the trace of the worker before it."""
    try:
        Refusing().batch(3)
    except ConfigError:
        refused = ExceptionWrapper(where="in DataLoader worker process 0")
    monkeypatch.setattr("laminar.training.data.batches_of", lambda *_: (refused.reraise() for _ in range(1)))
    with pytest.raises(ConfigError) as caught:
        next(iter(prefetched(Refusing(), [3], 1)))
    assert str(caught.value) == "a.h5: batch 3 is refused"


def test_a_part_of_the_readout_is_a_part_of_the_image() -> None:
    scan = simulate_slice("brain", (48, 40), 3, 0.0, torch.Generator().manual_seed(0))
    part = scan.crop(-2, 10, 20)
    torch.testing.assert_close(part.coil_images, scan.coil_images[:, 10:30], rtol=1e-4, atol=1e-5)


def test_simulation_commits_no_inverse_crime() -> None:
    """The coil images are those of a finer phantom, cropped in k-space; the same phantom on the sampled grid, times
    the same maps, is something else.
    """
    scan = simulate_slice("brain", (48, 48), 4, 0.0, torch.Generator().manual_seed(0))

    def product(n: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        image = phantom("brain", (n, n), generator)
        return sensitivities(4, (n, n), generator) * image

    sampled = ifft2c(fft2c(product(96))[..., 24:72, 24:72]) / 2
    torch.testing.assert_close(scan.coil_images, sampled, rtol=0, atol=1e-5)
    difference = product(48) - scan.coil_images
    assert 0.05 < float(difference.norm() / scan.coil_images.norm()) < 0.5  # the same anatomy, but not the same data
    assert torch.equal(scan.kspace, scan.clean)


def test_noise_has_the_stated_covariance() -> None:
    scan = simulate_slice("abstract", (128, 96), 3, 0.05, torch.Generator().manual_seed(1))
    noise = (scan.kspace - scan.clean).flatten(1).to(torch.complex128)
    measured = noise @ noise.mH / noise.shape[1]
    spread = 4 * 0.05**2 / noise.shape[1] ** 0.5
    assert float((measured - scan.covariance).abs().max()) < spread


def gaps(mask: torch.Tensor, axis: int) -> bool:
    """Whether a line along `axis` that has samples also lacks some."""
    return not torch.equal(mask.all(axis), mask.any(axis))


def test_files_with_zero_padding_are_trained_on_as_they_are(tmp_path: Path) -> None:
    """Target from all acquired columns, problem from those that the mask has too; maps and noise from the file."""
    columns = torch.arange(40) >= 9
    scan = simulated(seed=3).undersample(columns.expand(48, 40))
    maps = prepare(scan).encoding.sensitivities
    scan = replace(scan, sensitivities=2 * maps, noise_std=0.125)
    write_fastmri(tmp_path / "a.h5", scan)
    image = (maps.conj() * ifft2c(scan.kspace)).sum(1)
    for index in range(6):
        batch = FileStream(FullScans([tmp_path / "a.h5"]), SamplingConfig(acceleration=(2.0, 3.0)), 1, 0).batch(index)
        problem, mask = batch.problem, batch.problem.encoding.mask[0]
        torch.testing.assert_close(batch.image * problem.scale, image, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(problem.y * problem.scale, scan.kspace * mask)
        torch.testing.assert_close(problem.encoding.sensitivities, maps)
        torch.testing.assert_close(problem.noise_level * problem.scale, torch.tensor([0.125]))
        assert not bool((mask & ~columns).any())
        assert float(mask.float().mean()) < 0.75 * 31 / 40
        assert not gaps(mask, -2)  # the readout, as every fastMRI file says


def test_the_undersampled_axis_of_a_file_is_that_of_its_phase_encoding(tmp_path: Path) -> None:
    kspace = simulated().kspace[0].numpy()
    np.save(tmp_path / "a.npy", kspace)
    sampling = SamplingConfig(kinds=["random"], acceleration=(2.0, 3.0))
    for axes, gapless in (("coil,ky,kx", {-1}), ("coil,kx,ky", {-2}), ("coil,kz,ky", {-1, -2})):
        stream = FileStream(FullScans([tmp_path / "a.npy"], Request(axes=axes)), sampling, 1, 0)
        masks = [stream.batch(index).problem.encoding.mask[0] for index in range(8)]
        assert {-2 if not gaps(mask, -2) else -1 for mask in masks} == gapless
        assert not any(gaps(mask, -1) and gaps(mask, -2) for mask in masks)
    poisson = SamplingConfig(kinds=["poisson"])
    FileStream(FullScans([tmp_path / "a.npy"], Request(axes="coil,kz,ky")), poisson, 1, 0).batch(0)
    with pytest.raises(ConfigError, match=r"a.npy: Poisson masks would undersample its readout"):
        FileStream(FullScans([tmp_path / "a.npy"], Request(axes="coil,ky,kx")), poisson, 1, 0).batch(0)


def test_slices_without_signal_are_not_drawn_and_oversampling_is_removed(tmp_path: Path) -> None:
    scan = simulated()
    empty = torch.zeros_like(scan.kspace)
    wide = replace(scan, data=torch.cat([empty, scan.kspace, empty, empty]), image_shape=(24, 40))
    write_fastmri(tmp_path / "a.h5", wide)
    batch = FileStream(FullScans([tmp_path / "a.h5"]), LINES, 4, 0).batch(0)
    assert batch.image.shape == (4, 24, 40)
    assert bool((batch.image.abs().amax((-2, -1)) > 0).all())
    central = ifft2c(scan.kspace)[:, :, 12:36].abs().square().sum(1).sqrt()
    image = batch.image.abs() * batch.problem.scale[:, None, None]
    assert float((image - central).norm() / central.expand(4, -1, -1).norm()) < 0.1  # ESPIRiT leaves out some noise


def test_a_file_without_signal_is_refused(tmp_path: Path) -> None:
    scan = simulated()
    column = torch.arange(40) == 20
    write_fastmri(tmp_path / "a.h5", scan.undersample(column.expand(48, 40)))
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["mask"][:] = ~column.numpy()
        del file["ismrmrd_header"]  # with its limits of the measured columns
    with pytest.raises(ConfigError, match=r"a.h5: a scan with signal is needed"):
        FileStream(FullScans([tmp_path / "a.h5"]), LINES, 1, 0).batch(0)


@pytest.mark.parametrize("side", [16, 32, 33, 41, 48, 64, 65, 95])
def test_every_mask_can_be_drawn_for_small_matrices(side: int) -> None:
    for kind in ("random", "equispaced", "equispaced-fraction", "magic-fraction", "poisson"):
        for seed in range(4 if kind == "poisson" else 40):
            random = np.random.default_rng(seed)
            sampling = SamplingConfig(acceleration=(1.0, 2.0 + seed % 19), calibration_lines=(1, 60))
            matrix = (side, side + 7) if seed % 2 else (side + 7, side)
            mask = sampling.draw(matrix, -1 - seed % 2, kind, random)
            y, x = ((n - 8 + 1) // 2 for n in matrix)
            rows, columns = (slice(None), slice(x, x + 8)) if seed % 2 == 0 else (slice(y, y + 8), slice(None))
            if kind == "poisson":
                rows, columns = slice(y, y + 8), slice(x, x + 8)
            assert bool(mask[rows, columns].all())


@pytest.mark.parametrize(
    "setting",
    [
        {"kinds": []},
        {"kinds": ["radial"]},
        {"acceleration": (4.0, 2.0)},
        {"acceleration": (0.5, 2.0)},
        {"acceleration": (2.0, float("inf"))},
        {"acceleration": (2.0, float("nan"))},
        {"calibration_lines": (20, 10)},
        {"calibration_lines": (0, 10)},
    ],
)
def test_sampling_settings_out_of_range_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"^{next(iter(setting))}: expected"):
        SamplingConfig(**setting)


@pytest.mark.parametrize(
    "setting",
    [
        {"anatomy": "liver"},
        {"matrices": []},
        {"matrices": [(64, 64), (64, 15)]},
        {"readout": 15},
        {"coils": (0, 4)},
        {"coils": (5, 4)},
        {"noise_std": (0.0, 0.1)},
        {"noise_std": (0.2, 0.1)},
        {"noise_std": (-0.1, 0.1)},
    ],
)
def test_simulation_settings_out_of_range_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"^{next(iter(setting))}: expected"):
        SimulationConfig(**setting)
