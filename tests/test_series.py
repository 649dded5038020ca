"""Series that are solved together: cine and volumes, their operators, methods and networks, end to end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from laminar.audit import audit
from laminar.classical import cg_sense_method, l1_wavelet_method, low_rank_method, total_variation_method
from laminar.classical.low_rank import shrunk
from laminar.classical.wavelet import Wavelet
from laminar.data.acquisition.acquisition import Conditions, acquisition_of
from laminar.data.cases import Case
from laminar.data.masks import make_mask
from laminar.data.preparation import prepare
from laminar.data.series import apart, together
from laminar.data.simulation.phantoms import phantom
from laminar.data.simulation.receive import sensitivities
from laminar.errors import ConfigError, DataFormatError
from laminar.geometry import Series, Volume
from laminar.models import RegularizerConfig, UnrolledConfig, UnrolledNetwork
from laminar.networks import Neighbors, SeparableCNN, UNet
from laminar.operators import Encoding, fft2c, ifft2c
from laminar.reconstruction import reconstruct
from laminar.runtime import seed_of
from laminar.scan import Scan, cartesian
from laminar.training.config import TrainConfig
from laminar.training.loop import make_fabric, train
from laminar.training.state import RunFolder

SIZE, FRAMES, COILS, NOISE_STD = (32, 40), 4, 4, 0.005


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.complex64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def beating(seed: int, acceleration: int = 2) -> tuple[Scan, Tensor]:
    """A cine of a chest that brightens and darkens, as its frames one by one, and the frames (frame, y, x)."""
    generator = torch.Generator().manual_seed(seed)
    still = phantom("cardiac", SIZE, generator)
    frames = still * (1 + 0.2 * torch.sin(2 * torch.pi * torch.arange(FRAMES) / FRAMES))[:, None, None]
    maps = sensitivities(COILS, SIZE, generator, "volume")
    maps = maps / maps.abs().square().sum(0).sqrt()
    masks = torch.stack([make_mask("random", SIZE, acceleration, 8, (seed, k)) for k in range(FRAMES)])
    kspace = fft2c(maps * frames[:, None]) + NOISE_STD * draw(FRAMES, COILS, *SIZE, seed=seed)
    scan = cartesian(kspace * masks[:, None], masks, series={"phase": FRAMES}, noise_std=NOISE_STD)
    return scan, frames


def error(image: Tensor, truth: Tensor) -> float:
    return float((image.abs() - truth.abs()).norm() / truth.norm())


def test_frames_are_put_together_and_taken_apart() -> None:
    scan, _ = beating(0)
    cine = together(scan)
    assert cine.geometry.kind == "cine"
    assert cine.geometry.image_axes == ("frame", "y", "x")
    assert torch.equal(apart(cine).data, scan.data)
    assert torch.equal(apart(cine).mask, scan.mask)
    two = cartesian(
        torch.cat([scan.data, 2 * scan.data]).reshape(2, FRAMES, COILS, *SIZE).movedim(1, 0).flatten(0, 1),
        torch.stack([scan.mask, scan.mask], 1).flatten(0, 1),
        series={"phase": FRAMES, "slice": 2},
        noise_std=NOISE_STD,
    )
    both = together(two)
    assert both.n_slices == 2, "the last axis of a series runs fastest"
    torch.testing.assert_close(both.data, torch.stack([scan.data, 2 * scan.data]))
    with pytest.raises(DataFormatError, match="no axis 'echo' among its images; it has phase, slice"):
        together(two, "echo")


def test_the_lines_of_a_cine_move_on_and_miss_none() -> None:
    thing = phantom("cardiac", (64, 64), torch.Generator().manual_seed(0))

    def lines(interleaved: int) -> Tensor:
        settings = {"frames": 4, "acceleration": 4, "calibration_lines": 4, "interleaved": interleaved}
        measured = acquisition_of("cine", settings).measure(
            thing, (32, 32), Conditions(3, 0.01, torch.Generator().manual_seed(1))
        )
        assert isinstance(measured.scan.geometry, Series)
        return measured.scan.geometry.mask[:, :, 0]

    ordered, drawn = lines(1), lines(0)
    assert bool(ordered.any(0).all())
    outside = torch.arange(32).sub(16).abs() > 3
    later = ordered[0].roll(1) & outside & outside.roll(1)
    assert torch.equal(later, ordered[1] & outside & outside.roll(1))
    assert not torch.equal(ordered, drawn)
    with pytest.raises(ConfigError, match=r"interleaved lines need a whole one; got 2.5"):
        acquisition_of("cine", {"acceleration": 2.5})
    with pytest.raises(ConfigError, match="interleaved: expected 0 or 1; got 2"):
        acquisition_of("cine", {"interleaved": 2})


def test_a_series_is_solved_as_its_frames_where_nothing_couples_them() -> None:
    """CG-SENSE with maps in common: frame by frame, in one scale."""
    scan, _ = beating(0)
    maps = prepare(together(scan)).operator.operator.sensitivities  # type: ignore[attr-defined]
    one_by_one = reconstruct(replace(scan, sensitivities=maps), cg_sense_method).image
    together_ = reconstruct(together(scan), cg_sense_method).image[0]
    assert float((one_by_one - together_).norm() / together_.norm()) < 0.02, "but for the scale in the weight"


def test_a_series_knows_more_than_its_frames() -> None:
    scan, frames = beating(0, acceleration=3)
    maps = prepare(together(scan)).operator.operator.sensitivities  # type: ignore[attr-defined]
    alone = error(reconstruct(replace(scan, sensitivities=maps), l1_wavelet_method).image, frames)
    for method in (l1_wavelet_method, total_variation_method, low_rank_method):
        assert error(reconstruct(together(scan), method).image[0], frames) < alone


def test_blocks_of_low_rank() -> None:
    """A block of rank one only loses the threshold; the tiling, moved or not, is an isometry."""
    pattern, course = draw(8, 8), draw(5, seed=1)
    x = (course[:, None, None] * pattern)[None]
    size = pattern.norm() * course.norm()
    torch.testing.assert_close(shrunk(x, size.reshape(1, 1, 1, 1) / 4, 8), 0.75 * x)
    z = draw(2, 3, 13, 18, dtype=torch.complex128)
    torch.testing.assert_close(shrunk(z, torch.zeros(2, 1, 1, 1), 8, (3, 5)), z)
    with pytest.raises(ConfigError, match=r"a series of images \(frame, y, x\)"):
        low_rank_method(prepare(beating(0)[0].slice(0)))


def test_wavelets_of_a_series_are_unitary() -> None:
    wavelet, x = Wavelet((5, 16, 20)), draw(2, 5, 16, 20, dtype=torch.complex128)
    bands = wavelet(x)
    assert float(bands.norm()) == pytest.approx(float(x.norm()))
    torch.testing.assert_close(wavelet.adjoint(bands), x)


def test_neighbors_see_the_frames_beside() -> None:
    """With no reach a planar network works frame by frame; with one, a frame depends on its neighbors alone."""
    torch.manual_seed(0)
    planar = UNet([4, 4])
    torch.nn.init.normal_(planar.last.weight)
    x, time = draw(1, 5, 12, 16), torch.ones(1)
    series = Neighbors(planar, 0)(x, time)
    torch.testing.assert_close(series[:, 2], planar(x[:, 2], time))
    seeing = Neighbors(UNet([4, 4], images=3), 1)
    torch.nn.init.normal_(seeing.network.last.weight)  # type: ignore[union-attr, arg-type]
    other = x.clone()
    other[:, 0] = 0
    changed = (seeing(x, time) - seeing(other, time)).abs().amax((0, 2, 3)) > 0
    assert changed.tolist() == [True, True, False, False, True], "periodic"


@pytest.mark.parametrize("make", [lambda: SeparableCNN(4, 3), lambda: SeparableCNN(4, 2, time_embedding=True)])
def test_a_separable_network_is_homogeneous_and_shifts_with_its_frames(make: object) -> None:
    torch.manual_seed(0)
    network = make()  # type: ignore[operator]
    x, time = draw(2, 4, 9, 7), torch.rand(2)
    assert not bool(network(x, time).any()), "silent before training"
    torch.nn.init.normal_(network.last.weight)
    torch.testing.assert_close(network(3 * x, time), 3 * network(x, time), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(network(x.roll(1, 1), time), network(x, time).roll(1, 1), rtol=1e-4, atol=1e-4)


def test_the_source_of_a_frame_knows_the_others() -> None:
    """What a frame did not measure comes from the mean: much nearer where little moves; no change for a wide prior."""
    scan, frames = beating(0, acceleration=3)
    problem = prepare(together(scan))
    config = UnrolledConfig(n_cascades=1, regularizer=RegularizerConfig(channels=[4, 4], neighbors=0), geometry="cine")
    errors = []
    for width in (0.0, 1e3, 0.05):
        network = UnrolledNetwork(config=config, source_motion_std=width, source_iterations=30)
        measured = network.measure(problem.y, problem.operator, problem.noise_level)
        errors.append(error(network.source(measured)[0] * problem.scale, frames))
    assert errors[1] == pytest.approx(errors[0], rel=0.1)
    assert errors[2] < 0.8 * errors[0]
    planar, alone = UnrolledNetwork(n_cascades=1, source_motion_std=0.1), prepare(scan.slice(0))
    with pytest.raises(ConfigError, match="source_motion_std is of a series"):
        planar(alone.y, alone.operator)


@dataclass(frozen=True)
class Hearts:
    """A stream of cine problems."""

    def batch(self, index: int) -> Case:
        return Case.stack([self.case(seed_of(1, index, k)) for k in range(2)])

    @staticmethod
    def case(seed: int) -> Case:
        scan, frames = beating(seed % 1000)
        problem = prepare(together(scan))
        return Case(problem, frames[None] / problem.scale.reshape(-1, 1, 1, 1), f"heart {seed}")


@pytest.mark.parametrize(
    ("regularizer", "settings"),
    [
        (RegularizerConfig(channels=[8, 8], neighbors=1), {"phase_frame": True, "scan_embedding": True}),
        (RegularizerConfig(channels=[6], depth=3, kind="separable"), {"shared": True}),
    ],
    ids=["neighbors", "separable"],
)
def test_a_cine_network_is_trained_and_audited(
    regularizer: RegularizerConfig, settings: dict[str, Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = UnrolledNetwork(config=UnrolledConfig(n_cascades=2, regularizer=regularizer, **settings))
    config = TrainConfig(model=network.config, steps=2, validate_every=2, accelerator="cpu")
    held_out = [Hearts.case(seed) for seed in range(2)]
    outcome = train(make_fabric(config), network, Hearts(), held_out, config, RunFolder(tmp_path / "run"))
    assert outcome.validation["psnr"] > 15
    assert len(audit(network, held_out).record["cascades"]) == 2


def volume(mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Slices (slice, y, x), k-space (slice, coil, y, x) and maps of a small head with one mask."""
    generator = torch.Generator().manual_seed(0)
    slices = phantom("brain", SIZE, generator) * torch.linspace(1, 0.7, 5)[:, None, None]
    maps = sensitivities(COILS, SIZE, generator, "volume")
    maps = maps / maps.abs().square().sum(0).sqrt()
    kspace = fft2c(maps * slices[:, None]) + NOISE_STD * draw(5, COILS, *SIZE)
    return slices, kspace * mask, maps


def test_a_volume_is_the_series_of_its_slices() -> None:
    """Three transforms, or two and slices along the readout: the same operator, problem and image."""
    mask = make_mask("poisson", SIZE, 2, 8, 0)
    slices, kspace, _ = volume(mask)
    split = together(cartesian(kspace, mask, noise_std=NOISE_STD))
    assert split.geometry.kind == "volume"
    whole = Scan(fft2c(kspace.movedim(0, 1)[None], (-3,)), Volume(mask.expand(5, *SIZE)), noise_std=NOISE_STD)
    assert isinstance(whole.geometry, Volume)
    assert whole.geometry.complete_axis == -3
    images = [reconstruct(scan, total_variation_method).image for scan in (split, whole)]
    torch.testing.assert_close(*images, rtol=0, atol=1e-5)
    assert error(images[0][0], slices) < 0.2


def test_the_phase_goes_on_from_slice_to_slice() -> None:
    """ESPIRiT gives each slice a phase of its own: what the third axis would take for structure."""
    mask = make_mask("poisson", SIZE, 2, 8, 0)
    _, kspace, _ = volume(mask)
    kspace = kspace * torch.exp(2j * torch.pi * torch.rand(5, generator=torch.Generator().manual_seed(3)))[
        :, None, None, None
    ].to(kspace)
    maps = prepare(together(cartesian(kspace, mask, noise_std=NOISE_STD))).operator.operator.sensitivities  # type: ignore[attr-defined]
    overlap = (maps[1:].conj() * maps[:-1]).sum(1)
    inside = overlap.abs() > 0.5
    assert float(overlap[inside].angle().abs().quantile(0.99)) < 0.2


def test_a_volume_with_gaps_everywhere_needs_maps() -> None:
    mask = torch.rand(5, *SIZE, generator=torch.Generator().manual_seed(1)) < 0.6
    slices, kspace, maps = volume(torch.ones(SIZE, dtype=torch.bool))
    data = fft2c(kspace.movedim(0, 1)[None], (-3,)) * mask
    with pytest.raises(DataFormatError, match="no axis of this volume is sampled without gaps"):
        prepare(Scan(data, Volume(mask)))
    known = maps[:, None].expand(-1, 5, -1, -1)[None]
    scan = Scan(data, Volume(mask), sensitivities=known, noise_std=NOISE_STD)
    assert error(reconstruct(scan, total_variation_method).image[0], slices) < 0.15
    covariance = NOISE_STD**2 * torch.eye(COILS, dtype=torch.complex64)
    colored = prepare(Scan(data, Volume(mask), sensitivities=known, noise_covariance=covariance))
    torch.testing.assert_close(colored.noise_level, prepare(scan).noise_level)


def test_a_transform_of_three_axes_is_one_of_two_and_one() -> None:
    maps, x = draw(1, 2, 5, *SIZE), draw(1, 5, *SIZE, seed=1)
    full = Encoding(torch.ones(1, 5, *SIZE, dtype=torch.bool), maps)
    planes = fft2c((maps * x[:, None])[0].movedim(0, 1))
    torch.testing.assert_close(ifft2c(full(x), (-3,))[0].movedim(0, 1), planes, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (torch.ones(FRAMES, 3, 3, dtype=torch.bool), r"the mask must be bool \(4, 32, 40\) like k-space"),
        (torch.zeros(FRAMES, *SIZE, dtype=torch.bool), "the mask of a frame is false everywhere"),
        (torch.ones(FRAMES, *SIZE), "the mask must be bool"),
    ],
)
def test_bad_series_are_named(mask: Tensor, said: str) -> None:
    with pytest.raises(DataFormatError, match=f"^mine: .*{said}"):
        Scan(draw(1, FRAMES, COILS, *SIZE), Series(mask), name="mine")
    with pytest.raises(ConfigError, match=r"regularizer.neighbors above 0 needs the kind unet; got cnn"):
        RegularizerConfig(kind="cnn", neighbors=1)
