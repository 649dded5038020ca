"""Problems of objects larger than their field of view: two sets of sensitivities in training, and what is scored."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from laminar.data.cases import Case, FullScans, case_of
from laminar.data.config import SamplingConfig, SimulationConfig
from laminar.data.formats import LazyScan, write_fastmri
from laminar.data.masks import make_mask
from laminar.data.packed import SUFFIX, PackedStream, pack
from laminar.data.simulated import Phantoms, SimulationStream
from laminar.data.simulation import simulate_slice
from laminar.data.simulation.scan import scan_object
from laminar.data.stream import FileStream
from laminar.errors import ConfigError
from laminar.models import PriorConfig, RegularizerConfig, UnrolledConfig, UnrolledNetwork, VarNetConfig
from laminar.operators import fft2c, solve
from laminar.scan import Scan, cartesian
from laminar.training.adaptation import AdaptationConfig, adapt, slices_of
from laminar.training.config import DataConfig, TrainConfig
from laminar.training.data import make_data
from laminar.training.loop import make_fabric, train
from laminar.training.objectives import ObjectiveConfig
from laminar.training.reconstruction import Learner, evaluate, learner_inputs
from laminar.training.self_supervision import held_out_loss
from laminar.training.splitting import SplittingConfig, split
from laminar.training.state import RunFolder

SAMPLING = SamplingConfig(kinds=["equispaced"], acceleration=(2.0, 2.0), calibration_lines=(12, 16))
FOLDED = SimulationConfig(
    anatomy="brain", matrices=[(48, 56)], readout=32, coils=(5, 5), noise_std=(0.001, 0.002), folded=1.0
)


def stream(n_maps: int | None, batch_size: int = 2) -> SimulationStream:
    return SimulationStream(Phantoms("brain", FOLDED.matrices), FOLDED, SAMPLING, batch_size, 0, n_maps)


def folded_scan(height: int = 32, width: int = 40, whole: int = 60, coils: int = 8) -> tuple[Scan, Tensor]:
    """A noiseless object that reaches ten columns over either edge, with the orthonormal maps of its two ends; and its
    coil images."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1.5, 1.5, whole), indexing="ij")
    place = torch.randn(coils, 2, 1, 1, generator=generator)
    sensitivity = torch.exp(-((y - place[:, 0]) ** 2 + (x - place[:, 1]) ** 2) / 2 + 1j * (place[:, :1, 0] * x))
    object_ = torch.randn(height, whole, dtype=torch.complex64, generator=generator)
    over, ends = (whole - width) // 2, torch.zeros(2, coils, height, width, dtype=torch.complex64)
    images = sensitivity * object_
    coil_images = images[..., over : over + width].clone()
    ends[0] = sensitivity[..., over : over + width]
    for inside, outside in ((slice(0, over), slice(width + over, None)), (slice(width - over, None), slice(0, over))):
        coil_images[..., inside] += images[..., outside]
        ends[1][..., inside] = sensitivity[..., outside]
    maps = torch.linalg.qr(ends.permute(2, 3, 1, 0)).Q.permute(3, 2, 0, 1)
    maps = maps * (ends.abs().amax(1, keepdim=True) > 0)
    full = cartesian(fft2c(coil_images)[None], torch.ones(height, width, dtype=torch.bool), noise_std=1e-6)
    return replace(full, sensitivities=maps[None]), coil_images


def test_the_known_image_solves_the_problem_of_a_folded_object_with_two_maps_and_not_with_one() -> None:
    """A x0 = y, and nothing else does; its size is that of all coil images together."""
    full, coil_images = folded_scan()
    mask = make_mask("equispaced", full.matrix, 2, 8, 0)
    case = case_of(full, mask)
    problem, scale = case.problem, float(case.problem.scale)
    assert case.image.shape == (1, 2, *full.matrix)
    torch.testing.assert_close(problem.operator(case.image), problem.y, rtol=1e-4, atol=1e-4)
    found = solve(problem.operator.gram, problem.operator.adjoint(problem.y), iterations=300)
    torch.testing.assert_close(found, case.image, rtol=1e-2, atol=1e-2)
    size = problem.magnitude(case.image)[0]
    torch.testing.assert_close(scale * size, coil_images.abs().square().sum(0).sqrt(), rtol=1e-3, atol=1e-4)
    assert full.sensitivities is not None
    one = case_of(replace(full, sensitivities=full.sensitivities[:, 0]), mask)
    assert float((one.problem.operator(one.image) - one.problem.y).norm() / one.problem.y.norm()) > 0.3


def network(**settings: object) -> UnrolledNetwork:
    torch.manual_seed(0)
    config = UnrolledConfig.of(UnrolledConfig(n_cascades=2, regularizer=RegularizerConfig(channels=[4, 6])), settings)
    made = UnrolledNetwork(config=config)
    for parameter in made.regularizers.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return made


@pytest.mark.parametrize("form", ["state", "velocity", "endpoint"])
@pytest.mark.parametrize("norm", ["l1", "l2", "db"])
def test_a_second_map_that_is_zero_changes_no_loss_and_no_score(norm: str, form: str) -> None:
    case = stream(1).batch(0)
    padded = Case(case.problem.padded(2), torch.stack([case.image, torch.zeros_like(case.image)], 1))
    config = ObjectiveConfig(image_norm=norm, alignment_form=form, alignment_norm=norm)  # type: ignore[arg-type]
    learner = Learner(
        network(phase_frame=True, scan_embedding=True, cg_iterations=60, cg_tolerance=1e-6, source_iterations=60),
        config,
    )
    terms, same = (learner(*learner_inputs(each), seed=0) for each in (case, padded))
    assert terms.keys() == same.keys() > {"loss", "ssim", "alignment"}
    for name, term in terms.items():
        torch.testing.assert_close(same[name], term, rtol=1e-3, atol=1e-4)
    scores, again = (evaluate(learner.network, [each], config) for each in (case, padded))
    assert again["psnr_per_cascade"] == pytest.approx(scores["psnr_per_cascade"], rel=1e-3)
    held = split(case.problem, SplittingConfig(), torch.Generator().manual_seed(0))[1]
    losses = [held_out_loss(each.image, each.problem, held) for each in (case, padded)]
    torch.testing.assert_close(*losses, rtol=1e-3, atol=1e-3)


def disc(matrix: tuple[int, int]) -> Scan:
    """A small object in the middle of its field of view."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, 2 * n) for n in matrix), indexing="ij")
    thing = torch.complex((y.square() + x.square() < 0.25).float(), torch.zeros_like(y))
    return scan_object(thing, matrix, 5, 0.003, torch.Generator().manual_seed(1)).scan


def test_a_batch_of_one_and_two_maps_is_one_of_two() -> None:
    """What is not folded gets a second map that is zero, and the image of it is zero."""
    folded = stream(None, batch_size=1).batch(0)
    inside = case_of(disc((folded.image.shape[-2], folded.image.shape[-1])), folded.problem.sensed.mask[0], n_maps=None)
    assert (folded.problem.n_maps, inside.problem.n_maps) == (2, 1)
    both = Case.stack([folded, inside])
    assert both.image.shape == (2, *folded.image.shape[1:])
    torch.testing.assert_close(both.problem.operator(both.image)[1:], inside.problem.operator(inside.image))
    assert not bool(both.image[1, 1].any())
    assert torch.equal(both.image[:1], folded.image)
    assert Case.stack([inside, inside]).problem.n_maps == 1


def test_files_have_two_maps_where_their_object_is_folded(tmp_path: Path) -> None:
    whole = simulate_slice("brain", (48, 80), 6, 0.003, torch.Generator().manual_seed(2)).fold(-1, 48)
    write_fastmri(tmp_path / "folded.h5", whole.scan)
    write_fastmri(tmp_path / "one.h5", disc((48, 80)))
    for name, n_maps, expected in (("folded", None, 2), ("folded", 1, 1), ("one", None, 1), ("one", 2, 2)):
        batch = FileStream(FullScans([tmp_path / f"{name}.h5"]), SAMPLING, 1, 0, n_maps).batch(0)
        assert batch.problem.n_maps == expected


def test_packed_problems_carry_the_maps_that_they_were_packed_with(tmp_path: Path) -> None:
    pack(made := stream(None), 0, tmp_path / f"0{SUFFIX}")
    case, sampling = made.batch(0), SamplingConfig(acceleration=(1.0, 1.0))
    both, first = (PackedStream.open([tmp_path], sampling, 3, n_maps).batch(0) for n_maps in (None, 1))
    assert both.problem.n_maps == 2
    assert first.problem.n_maps == 1
    torch.testing.assert_close(both.image[:, 0], first.image)
    size, known = both.problem.magnitude(both.image), case.problem.magnitude(case.image)
    assert {round(float(each.norm()), 2) for each in size} == {round(float(each.norm()), 2) for each in known}
    error = both.problem.sensed.masked(torch.ones_like(both.problem.sensed.mask)).adjoint(both.problem.y) - both.image
    assert float(error.norm() / both.image.norm()) < 0.1  # noise, and maps in half precision


def test_a_network_is_adapted_to_a_folded_scan_by_two_maps() -> None:
    whole = simulate_slice("brain", (48, 80), 6, 0.003, torch.Generator().manual_seed(2)).fold(-1, 48)
    mask = make_mask("equispaced-fraction", (48, 48), 2, 20, 0)
    found, problem = slices_of(LazyScan.of(whole.scan.undersample(mask)))
    assert problem(0).n_maps == 2
    adapted = adapt(network(), found, problem, AdaptationConfig(steps=1))
    assert (adapted.steps, adapted.interrupted) == (1, False)
    assert adapted.after <= adapted.before


CONFIG = TrainConfig(
    model=UnrolledConfig(n_cascades=2, regularizer=RegularizerConfig(channels=[4, 6])),
    data=DataConfig(maps="auto", simulation=FOLDED, sampling=SAMPLING, batch_size=2, validation_batches=1, workers=0),
    steps=2,
    validate_every=2,
    accelerator="cpu",
)
ISTA = replace(CONFIG.model, regularizer=RegularizerConfig(kind="ista", channels=[4]))  # type: ignore[type-var]
KINDS = {
    "flat": CONFIG,
    "ista": replace(CONFIG, model=ISTA),
    "self-supervised": replace(CONFIG, objective=ObjectiveConfig(self_supervised=True)),
    "flow matching": replace(
        CONFIG,
        model=replace(CONFIG.model, shared=True, source_noise=0.1),  # type: ignore[type-var]
        objective=ObjectiveConfig(flow_matching=1.0),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_is_trained_on_folded_objects(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("lightning.fabric")
    config, learned = KINDS[kind], UnrolledNetwork(config=KINDS[kind].model)  # type: ignore[arg-type]
    data, validation = make_data(config)
    assert validation[0].image.shape[:2] == (2, 2)
    before = [parameter.clone() for parameter in learned.parameters()]
    outcome = train(make_fabric(config), learned, data, validation, config, RunFolder(tmp_path))
    assert outcome.step == 2
    assert all(torch.isfinite(torch.tensor(outcome.validation["loss"]).flatten()))
    changed = [not torch.equal(a, b) for a, b in zip(before, learned.parameters(), strict=True)]
    assert any(changed)


@pytest.mark.parametrize("model", [PriorConfig(), VarNetConfig()])
def test_what_takes_one_map_is_not_trained_on_two(model: PriorConfig | VarNetConfig) -> None:
    with pytest.raises(ConfigError, match=f"data.maps 2: .* need an unrolled network; got a {type(model).__name__}"):
        TrainConfig(model=model, data=DataConfig(maps=2))


def test_maps_are_of_planar_cartesian_scans() -> None:
    with pytest.raises(ConfigError, match=r"data\.maps are of planar Cartesian scans: radial takes 1; got auto"):
        DataConfig(maps="auto", geometry="radial")
    with pytest.raises(ConfigError, match=r"data\.maps must be 1, 2 or auto; got 3"):
        DataConfig(maps=3)  # type: ignore[arg-type]
