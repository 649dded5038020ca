"""The one inference path: units, sizes, coils, slices, oversampling, and the classical methods in it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import laminar
from laminar.classical import cg_sense, cg_sense_method, zero_filled, zero_filled_method
from laminar.data.cropping import center_crop, crop_readout
from laminar.data.formats import LazyScan, read, stream, write_fastmri
from laminar.data.masks import make_mask
from laminar.data.preparation import Problem, prepare, without_oversampling
from laminar.data.simulation import simulate_slice
from laminar.errors import ConfigError, DataFormatError
from laminar.flow import Trajectory
from laminar.methods import Method, open_method, sampler_method
from laminar.methods.mirrored import MirroredMethod
from laminar.metrics import fastmri_metrics
from laminar.models import Prior, PriorConfig, UnrolledNetwork, load
from laminar.operators import fft2c, ifft2c
from laminar.reconstruction import reconstruct, reconstruct_slices, reference_image
from laminar.scan import Scan, cartesian


def scan(matrix: tuple[int, int], coils: int = 4, slices: int = 1, acceleration: float = 3.0) -> Scan:
    parts = [
        simulate_slice("brain", matrix, coils, 0.005, torch.Generator().manual_seed(seed)).kspace
        for seed in range(slices)
    ]
    mask = make_mask("equispaced-fraction", matrix, acceleration, 10, 0)
    return cartesian(torch.stack(parts), torch.ones(matrix, dtype=torch.bool), noise_std=0.005).undersample(mask)


@pytest.fixture(scope="module")
def network(tiny_model: Path) -> UnrolledNetwork:
    return load(tiny_model)


@pytest.mark.parametrize("coils", [1, 2, 5, 64])
@pytest.mark.parametrize("matrix", [(64, 64), (45, 71)])
def test_any_size_and_number_of_coils(network: UnrolledNetwork, matrix: tuple[int, int], coils: int) -> None:
    result = reconstruct(scan(matrix, coils), network)
    assert result.image.shape == (1, *matrix)
    assert result.trajectory is not None
    assert result.trajectory.shape == (3, 1, *matrix)
    assert result.nfe == 2
    assert bool(torch.isfinite(result.magnitude).all())
    assert float(result.magnitude.max()) > 0.1


@pytest.mark.parametrize("factor", [2.0**-27, 1.0, 2.0**20])
def test_the_image_is_in_the_units_of_the_scan(network: UnrolledNetwork, factor: float) -> None:
    """Powers of two, which change no rounding: what is left is the unit alone."""
    original = scan((64, 48))
    image = reconstruct(original, network).image
    scaled = reconstruct(replace(original, data=factor * original.kspace, noise_std=0.005 * factor), network).image
    torch.testing.assert_close(scaled / factor, image, rtol=1e-6, atol=1e-6 * float(image.abs().max()))


def test_the_network_is_left_as_it_was(network: UnrolledNetwork) -> None:
    original = scan((64, 48))
    network.train()
    first = laminar.reconstruct(original, network)
    assert network.training
    second = laminar.reconstruct(original, network.eval())
    assert torch.equal(first.image, second.image)
    assert not first.image.is_inference()


def test_given_sensitivities_need_no_calibration_lines_and_no_norm(network: UnrolledNetwork) -> None:
    full = scan((64, 48), acceleration=1.0)
    maps = prepare(full).encoding.sensitivities
    mask = torch.zeros(full.matrix, dtype=torch.bool)
    mask[:, ::2] = True
    under = replace(full, sensitivities=maps).undersample(mask)
    image = reconstruct(under, network).image
    assert fastmri_metrics(image.abs(), reference_image(full))["psnr"] > 20
    louder = reconstruct(replace(under, sensitivities=3.0 * maps), network).image
    torch.testing.assert_close(louder, image)


def test_an_image_that_is_not_finite_is_an_error(network: UnrolledNetwork) -> None:
    with pytest.raises(DataFormatError, match="not finite"):
        reconstruct(scan((64, 48)), lambda p: Trajectory([p.y.sum(1) * float("nan")], [], None, 0))


def test_samples_have_a_mean_inside_its_interval_beside_the_trajectory_of_the_first() -> None:
    """Samples of random phase: the magnitude of their mean is far below the mean of their magnitudes."""
    drawn: list[Tensor] = []

    class Noise(Method):
        name, draws = "noise", True

        def draw(self, problem: Problem, generator: torch.Generator) -> Trajectory:
            drawn.append(torch.randn(2, 1, 48, 40, dtype=torch.complex64, generator=generator) * problem.scale)
            return Trajectory(list(drawn[-1] / problem.scale), [], None, 1)

        estimate = draw

    result = reconstruct(scan((48, 40)), Noise(), samples=3)
    assert result.trajectory is not None
    assert result.spread is not None
    torch.testing.assert_close(result.trajectory, drawn[0])
    torch.testing.assert_close(result.image, torch.stack(drawn)[:, -1].mean(0))
    torch.testing.assert_close(result.magnitude, torch.stack(drawn)[:, -1].abs().mean(0))
    lower, upper = result.spread.interval(0.5)
    assert bool(((lower <= result.magnitude) & (result.magnitude <= upper)).all())


def test_slices_are_reconstructed_one_by_one_and_an_empty_one_is_zero(network: UnrolledNetwork) -> None:
    volume = scan((64, 48), slices=3)
    kspace = volume.kspace.clone()
    kspace[1] = 0
    seen: list[int] = []
    result = reconstruct(replace(volume, data=kspace), network, report=seen.append)
    assert seen == [1, 2, 3]
    assert not result.image[1].any()
    assert result.log[0] == "slice 1 holds no signal: its image is zero"
    for index in (0, 2):
        torch.testing.assert_close(result.image[index], reconstruct(volume.slice(index), network).image[0])


def test_readout_oversampling_is_cropped_without_loss() -> None:
    """The oversampled scan holds the plain one in the middle of its readout."""
    plain = scan((48, 40))
    image = ifft2c(plain.kspace, (-2,))
    wide = fft2c(torch.nn.functional.pad(image, (0, 0, 24, 24)), (-2,))
    mask = plain.mask[:1].expand(96, 40).clone()
    over = cartesian(wide * mask, mask, noise_std=plain.noise_std, image_shape=(48, 32))
    torch.testing.assert_close(crop_readout(over).kspace, plain.kspace, rtol=1e-4, atol=1e-5)
    result = reconstruct(over, cg_sense_method).image
    expected = center_crop(reconstruct(plain, cg_sense_method).image, (48, 32))
    assert result.shape == (1, 48, 32)
    torch.testing.assert_close(result, expected, rtol=1e-3, atol=1e-3)


def folded(matrix: tuple[int, int]) -> tuple[Scan, Tensor]:
    """A head in a field of view of 60 %: its sides fold onto its middle."""
    wide = (matrix[0], round(matrix[1] / 0.6))
    full = simulate_slice("brain", wide, 6, 0.003, torch.Generator().manual_seed(4))
    images = full.coil_images
    start = (wide[1] - matrix[1]) // 2
    inside = images[..., start : start + matrix[1]].clone()
    inside[..., -start:] += images[..., :start]
    inside[..., : wide[1] - matrix[1] - start] += images[..., start + matrix[1] :]
    return cartesian(fft2c(inside)[None], torch.ones(matrix, dtype=torch.bool)), inside


def test_a_field_of_view_smaller_than_the_object_takes_two_maps(network: UnrolledNetwork) -> None:
    """A pixel holds two images there: with two sets of sensitivities every method gains. A network whose training
    knew such fields of view does better with one set than others, and gains less by the second."""
    full, images = folded((64, 48))
    under = full.undersample(make_mask("equispaced-fraction", full.matrix, 2, 16, 0))
    reference = images.abs().square().sum(0).sqrt()[None]
    gains = {"network": 4, "l1-wavelet": 4, "total-variation": 2, "cg-sense": 1, "grappa": 0.5}
    for name, least in gains.items():
        found = [reconstruct(under, open_method(name), n_maps=n) for n in (1, None)]
        one, two = (fastmri_metrics(each.magnitude, reference)["psnr"] for each in found)
        assert two > one + least, name
        assert two > 30
        assert "two sets of sensitivities" in found[1].log[0]
        assert found[1].image.shape == (1, *full.matrix)
        assert found[1].trajectory is not None
        assert found[1].trajectory.shape[1:] == (1, *full.matrix)
        assert found[0].log == ()
    mirrored = reconstruct(under, MirroredMethod(open_method("cg-sense")))
    torch.testing.assert_close(mirrored.image, reconstruct(under, open_method("cg-sense")).image, rtol=0.02, atol=0.02)


def test_two_maps_are_refused_where_one_is_all_there_is() -> None:
    full, _ = folded((64, 48))
    prior = sampler_method("dds", Prior(PriorConfig(channels=[4, 8])), nfe=2)
    with pytest.raises(ConfigError, match="dds takes one set of sensitivities"):
        reconstruct(full, prior, n_maps=2)
    assert reconstruct(full, prior).log == ()
    given = replace(full, sensitivities=prepare(full).encoding.sensitivities)
    with pytest.raises(ConfigError, match="brings one set"):
        prepare(given, n_maps=2)
    soft = replace(full, sensitivities=prepare(full, n_maps=2).sensed.sensitivities)
    assert prepare(soft).n_maps == 2
    torch.testing.assert_close(
        reconstruct(soft, open_method("cg-sense")).image, reconstruct(full, open_method("cg-sense")).image
    )


def test_sensitivities_are_cropped_with_the_readout() -> None:
    full = scan((64, 48), acceleration=1.0)
    known = replace(full, sensitivities=prepare(full).encoding.sensitivities, image_shape=(40, 48))
    narrow = crop_readout(known)
    assert narrow.kspace.shape[-2:] == (40, 48)
    assert known.sensitivities is not None
    assert narrow.sensitivities is not None
    assert torch.equal(narrow.sensitivities, known.sensitivities[..., 12:52, :])


def test_classical_methods_solve_what_they_say() -> None:
    problem = prepare(scan((64, 48)))
    operator, y = problem.operator, problem.y
    assert torch.equal(zero_filled(y, operator), operator.adjoint(y))
    x = cg_sense(y, operator, weight=0.05, iterations=100, tolerance=1e-6)
    residual = operator.gram(x) + 0.05 * x - operator.adjoint(y)
    assert float(residual.norm() / operator.adjoint(y).norm()) < 1e-5


def test_more_samples_make_a_better_image_and_sense_beats_zero_filling() -> None:
    full = scan((96, 80), acceleration=1.0)
    reference = reference_image(full)

    def psnr(acceleration: float, method: object) -> float:
        under = full.undersample(make_mask("equispaced-fraction", full.matrix, acceleration, 10, 0))
        return fastmri_metrics(reconstruct(under, method).magnitude, reference)["psnr"]  # type: ignore[arg-type]

    assert psnr(1, zero_filled_method) > 35
    assert psnr(2, cg_sense_method) > psnr(4, cg_sense_method) > psnr(4, zero_filled_method)


@pytest.mark.gpu
def test_the_gpu_gives_the_same_image(network: UnrolledNetwork) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    original = scan((64, 48))
    on_cpu = reconstruct(original, network).image
    on_gpu = reconstruct(original, network, device="cuda").image
    network.to("cpu")
    torch.testing.assert_close(on_gpu, on_cpu, rtol=1e-2, atol=1e-3)


def test_a_streamed_file_gives_the_image_of_the_file_in_memory(network: UnrolledNetwork, tmp_path: Path) -> None:
    """Five slices, so that the noise level comes from some of them; one is empty; the readout is oversampled."""
    volume = scan((64, 48), slices=5)
    kspace = volume.kspace.clone()
    kspace[1] = 0
    write_fastmri(tmp_path / "v.h5", replace(volume, data=kspace, noise_std=None, image_shape=(48, 48)))
    whole, lazy = read(tmp_path / "v.h5"), stream(tmp_path / "v.h5")
    for index in range(5):
        one, other = lazy.slice(index), whole.slice(index)
        assert torch.equal(one.kspace, other.kspace)
        assert torch.equal(one.mask, other.mask)
        assert (one.name, one.image_shape, one.header) == (other.name, other.image_shape, other.header)
    assert (lazy.n_slices, lazy.n_coils, lazy.matrix) == (5, 4, (64, 48))
    expected, streamed = reconstruct(whole, network), reconstruct(tmp_path / "v.h5", network)
    assert torch.equal(streamed.image, expected.image)
    assert streamed.log == expected.log != ()
    known = without_oversampling(whole).noise_std
    assert known is not None
    assert torch.equal(reconstruct(replace(whole, noise_std=known), network).image, expected.image)


def test_no_more_than_one_slice_is_read_ahead(network: UnrolledNetwork) -> None:
    volume = scan((64, 48), slices=4)
    read_so_far: list[int] = []

    def load(index: int) -> Scan:
        read_so_far.append(index)
        return volume.slice(index)

    slices = reconstruct_slices(replace(LazyScan.of(volume), load=load), network)
    assert read_so_far == []
    for index, _ in enumerate(slices):
        assert max(read_so_far) <= index + 1


def test_a_slice_that_cannot_be_read_stops_the_reconstruction(network: UnrolledNetwork) -> None:
    volume = scan((64, 48), slices=3)

    def load(index: int) -> Scan:
        if index == 2:
            raise DataFormatError("slice 2 is torn")
        return volume.slice(index)

    slices = reconstruct_slices(replace(LazyScan.of(volume), load=load), network)
    assert len([next(slices), next(slices)]) == 2
    with pytest.raises(DataFormatError, match="slice 2 is torn"):
        next(slices)


@pytest.mark.parametrize("factor", [1e-30, 1e20])
def test_the_size_of_the_numbers_does_not_matter(network: UnrolledNetwork, factor: float) -> None:
    """Squares of these are no float32: all is scaled first. Maps of 1e-30 are maps."""
    original = replace(scan((64, 48)), noise_std=None)
    maps = prepare(original).encoding.sensitivities
    dds = sampler_method("dds", Prior(PriorConfig(channels=[4, 6], embedding=8)), 2)
    for given in (None, maps):
        for method in (network, cg_sense_method, dds):
            image = reconstruct(replace(original, sensitivities=given), method).image
            shrunk = None if given is None else given * 1e-30
            result = reconstruct(replace(original, data=original.kspace * factor, sensitivities=shrunk), method)
            torch.testing.assert_close(result.image / factor, image, rtol=0, atol=2e-3 * float(image.abs().max()))
            assert result.log == ()
    full = cartesian(original.kspace, original.mask)
    shown = reference_image(replace(full, data=full.kspace * factor)) / factor
    torch.testing.assert_close(shown, reference_image(full))


def test_an_empty_image_is_said(network: UnrolledNetwork) -> None:
    original = scan((64, 48))
    dark = replace(original, sensitivities=torch.zeros_like(original.kspace))
    result = reconstruct(dark, network)
    assert not result.image.any()
    assert result.log == ("slice 0 has samples, but its image is zero everywhere: all coil sensitivities are zero",)
