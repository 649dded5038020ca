"""Training from acquired samples alone: how they are split, what the loss sees, and that it teaches."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from laminar.data.coils import calibration_region, whole_lines
from laminar.data.config import SamplingConfig, SimulationConfig
from laminar.data.formats import write_fastmri
from laminar.data.masks import make_mask
from laminar.data.simulation import simulate_slice
from laminar.errors import ConfigError
from laminar.models import RegularizerConfig, UnrolledConfig, UnrolledNetwork, VarNetConfig, build
from laminar.training.config import DataConfig, OptimizerConfig, TrainConfig
from laminar.training.data import make_data
from laminar.training.loop import make_fabric, train
from laminar.training.objectives import ObjectiveConfig
from laminar.training.self_supervision import SelfSupervisedTask, held_out_loss
from laminar.training.splitting import SplittingConfig, held_out, split
from laminar.training.state import RunFolder

CONFIG = TrainConfig(
    model=UnrolledConfig(
        n_cascades=2,
        coefficients="free",
        source="zero-filled",
        data_weight=3.0,
        regularizer=RegularizerConfig(channels=[4, 6]),
    ),
    objective=ObjectiveConfig(self_supervised=True),
    data=DataConfig(
        simulation=SimulationConfig(matrices=[(40, 64)], coils=(4, 4), readout=32, noise_std=(0.01, 0.01)),
        sampling=SamplingConfig(kinds=["equispaced-fraction"], acceleration=(2.0, 2.5), both_axes=False),
        batch_size=2,
        validation_batches=4,
        workers=0,
    ),
    optimizer=OptimizerConfig(learning_rate=5e-3, coefficient_rate=50.0, warmup=2, clip=10.0),
    steps=12,
    validate_every=4,
    accelerator="cpu",
)


def drawn(kind: str, axis: int, share: float, law: str, unit: str, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """A mask, its calibration region, and what is held out."""
    mask = make_mask(kind, (48, 56), 3, 8, seed, axis)
    config = SplittingConfig(law, unit, share)  # type: ignore[arg-type]
    kept = torch.zeros_like(mask)
    kept[whole_lines(mask, calibration_region(mask))] = True
    return mask, kept, held_out(mask, config, torch.Generator().manual_seed(seed))


@settings(max_examples=60)
@given(
    st.sampled_from(["random", "equispaced", "equispaced-fraction", "poisson"]),
    st.sampled_from([-1, -2]),
    st.floats(0.01, 0.99),
    st.sampled_from(["uniform", "gaussian"]),
    st.sampled_from(["line", "sample"]),
    st.integers(0, 1000),
)
def test_a_split_keeps_the_calibration_region_and_its_share(
    kind: str, axis: int, share: float, law: str, unit: str, seed: int
) -> None:
    mask, kept, held = drawn(kind, axis, share, law, unit, seed)
    assert not bool((held & ~mask).any())
    assert not bool((held & kept).any())
    assert torch.equal(held, drawn(kind, axis, share, law, unit, seed)[2])
    lines = unit == "line" and kind != "poisson"
    if lines:
        assert torch.equal(held, held.any(-2 if axis == -1 else -1, keepdim=True).expand_as(held))
    reduced = [(m.any(-2 if axis == -1 else -1) if lines else m).sum() for m in (held, mask & ~kept)]
    count, all_of_them = map(int, reduced)
    assert count == min(max(1, round(share * all_of_them)), all_of_them - 1)


def test_the_gaussian_law_prefers_the_center() -> None:
    mask = torch.ones(64, 64, dtype=torch.bool)
    mask[:, ::2] = False
    mask[28:36, 28:36] = True
    place = (torch.arange(64) - 32.0).abs().expand(64, 64)
    means = {}
    for law in ("uniform", "gaussian"):
        held = held_out(mask, SplittingConfig(law, "sample", 0.2), torch.Generator().manual_seed(0))  # type: ignore[arg-type]
        means[law] = float(place[held].mean())
    assert means["uniform"] == pytest.approx(16, abs=1.5)
    assert means["gaussian"] < 13


@pytest.mark.parametrize("unit", ["sample", "line"])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_scan_of_calibration_lines_alone_is_split_outside_its_center(unit: str, axis: int) -> None:
    """And so is what a first split leaves of it."""
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask.narrow(axis, 10, 12)[:] = True
    config = SplittingConfig(unit=unit)  # type: ignore[arg-type]
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        held = held_out(mask, config, generator)
        second = held_out(mask & ~held, config, generator)
        assert not bool((held & ~mask).any())
        assert not bool((second & (held | ~mask)).any())
        assert not bool((held | second)[14:18, 14:18].any())
        assert int(held.sum()) == (round(0.4 * 8) * 32 if unit == "line" else round(0.4 * (32 * 12 - 16)))


@pytest.mark.parametrize("center", [4, 32])
def test_nothing_to_split_is_an_error(center: int) -> None:
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[16 - center // 2 : 16 + center // 2, 16 - center // 2 : 16 + center // 2] = True
    with pytest.raises(ConfigError, match=r"an undersampled scan .* is needed to hold some of them out; got 0"):
        held_out(mask, SplittingConfig(), torch.Generator())


@pytest.mark.parametrize("norm", ["db", "l1+l2"])
def test_the_loss_compares_samples_that_the_network_never_saw(norm: str) -> None:
    """Its gradient is zero at samples of the input, that of the image at samples held out."""
    problem = make_data(CONFIG)[0].batch(0).problem
    y = problem.y.clone().requires_grad_()
    problem = replace(problem, y=y)
    given_, held = split(problem, SplittingConfig(unit="line"), torch.Generator().manual_seed(0))
    image = build(CONFIG.model).trajectory(given_.y, given_.operator, given_.noise_level).image
    (seen,) = torch.autograd.grad(image.abs().square().sum(), y, retain_graph=True)
    (compared,) = torch.autograd.grad(held_out_loss(image.detach(), problem, held, norm), y)  # type: ignore[arg-type]
    assert bool(seen.any())
    assert bool(compared.any())
    assert not bool((seen * held[:, None]).any())
    assert not bool((compared * ~held[:, None]).any())
    turned = held_out_loss(2j * image, replace(problem, y=2j * y), held, norm)  # type: ignore[arg-type]
    torch.testing.assert_close(turned, held_out_loss(image, problem, held, norm), rtol=1e-4, atol=1e-5)  # type: ignore[arg-type]


def scores(folder: Path) -> list[float]:
    return [json.loads(line)["validation"]["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_few_steps_lower_the_loss_on_samples_held_out_of_other_scans(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, (stream, validation) = build(CONFIG.model), make_data(CONFIG)
    assert isinstance(network, UnrolledNetwork)
    task = SelfSupervisedTask(network, CONFIG.objective, False)
    before = task.evaluate(network, validation)["loss"]
    train(make_fabric(CONFIG), network, stream, validation, CONFIG, RunFolder(tmp_path))
    after = scores(tmp_path)
    assert after[-1] < before - 0.2
    assert min(after) == json.loads((tmp_path / "best" / "model.json").read_text())["card"]["validation"]["loss"]


def test_undersampled_files_are_trained_on_as_they_are(tmp_path: Path) -> None:
    full = simulate_slice("brain", (40, 64), 4, 0.01, torch.Generator().manual_seed(0)).scan
    mask = make_mask("equispaced-fraction", full.matrix, 2.5, 8, 0)
    write_fastmri(tmp_path / "scan.h5", full.undersample(mask))
    files = [str(tmp_path / "scan.h5")]
    config = replace(CONFIG, data=replace(CONFIG.data, kind="files", train=files, validation=files))
    stream, validation = make_data(config)
    for case in (stream.batch(3), validation[0]):
        problem = case.problem
        assert torch.equal(problem.encoding.mask, mask.expand(2, -1, -1))
        torch.testing.assert_close(case.image, problem.operator.adjoint(problem.y))
    with pytest.raises(ConfigError, match="a fully sampled scan is needed"):
        make_data(replace(config, objective=ObjectiveConfig()))[0].batch(0)


def test_what_needs_images_is_refused() -> None:
    with pytest.raises(ConfigError, match="flow_matching needs images"):
        ObjectiveConfig(self_supervised=True, flow_matching=1.0)
    with pytest.raises(ConfigError, match=r"need an unrolled network; got a VarNetConfig"):
        TrainConfig(model=VarNetConfig(), objective=ObjectiveConfig(self_supervised=True))
    for wrong in ({"law": "even"}, {"unit": "point"}, {"share": 1.0}, {"masks": 0}):
        with pytest.raises(ConfigError, match=f"splitting.{next(iter(wrong))} must be"):
            SplittingConfig(**wrong)  # type: ignore[arg-type]
