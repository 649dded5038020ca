"""Blurred, incomplete and coarse images, real ones, through every method, training and the audit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from laminar.audit import audit
from laminar.classical import cg_sense_method, total_variation_method
from laminar.data.cases import Case
from laminar.data.preparation import prepare
from laminar.data.simulation.phantoms import phantom
from laminar.errors import ConfigError, DataFormatError
from laminar.geometry import Linear
from laminar.methods import open_method
from laminar.models import Prior, RegularizerConfig, UnrolledConfig, UnrolledNetwork, save
from laminar.operators import Convolution, Inpainting, LinearOperator, box, gaussian
from laminar.reconstruction import reconstruct
from laminar.registry import CLASSICAL, SAMPLERS
from laminar.runtime import seed_of
from laminar.scan import Scan
from laminar.training.config import TrainConfig
from laminar.training.loop import make_fabric, train
from laminar.training.state import RunFolder

SIZE, NOISE_STD = (32, 28), 0.02
KNOWN = torch.rand(SIZE, generator=torch.Generator().manual_seed(0)) < 0.6
OPERATORS: dict[str, LinearOperator] = {
    "blur": Convolution(5 * gaussian(1.0), SIZE),
    "inpainting": Inpainting(KNOWN),
    "super-resolution": Convolution(box(2), SIZE, 2),
}


def measured(name: str, seed: int) -> tuple[Scan, torch.Tensor]:
    """A scan of a real image, and that image."""
    generator, operator = torch.Generator().manual_seed(seed), OPERATORS[name]
    image = phantom("brain", SIZE, generator).abs()[None]
    y = operator(image)
    noise = NOISE_STD * torch.randn(y.shape, generator=generator)
    y = y + (noise if operator.sampled is None else noise * operator.sampled)
    return Scan(y, Linear(operator, SIZE), noise_std=NOISE_STD), image


def case(name: str, seed: int) -> Case:
    scan, image = measured(name, seed)
    problem = prepare(scan)
    return Case(problem, image / problem.scale[:, None, None], f"{name} {seed}")


@pytest.mark.parametrize("name", OPERATORS)
def test_classical_methods_and_a_network_give_real_images(name: str) -> None:
    scan, truth = measured(name, 3)
    network = UnrolledNetwork(n_cascades=2, data_step="proximal", phase_frame=True, scan_embedding=True)
    sparse = reconstruct(scan, total_variation_method).image
    for image in (sparse, reconstruct(scan, cg_sense_method).image, reconstruct(scan, network).image):
        assert image.shape == (1, *SIZE)
        assert image.dtype == torch.float32
        assert bool(torch.isfinite(image).all())
    back = OPERATORS[name].adjoint(scan.data) / OPERATORS[name].norm ** 2  # type: ignore[operator]
    assert float((sparse - truth).norm()) < 0.9 * float((back - truth).norm())


@dataclass(frozen=True)
class Blurs:
    def batch(self, index: int) -> Case:
        return Case.stack([case("blur", seed_of(1, index, k)) for k in range(2)])


def test_a_network_of_real_images_is_trained_and_audited(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = UnrolledNetwork(config=UnrolledConfig(n_cascades=2, regularizer=RegularizerConfig(channels=[8, 8])))
    config = TrainConfig(model=network.config, steps=2, validate_every=2, accelerator="cpu")
    held_out = [case("blur", seed) for seed in range(2)]
    outcome = train(make_fabric(config), network, Blurs(), held_out, config, RunFolder(tmp_path / "run"))
    assert outcome.validation["psnr"] > 20
    assert len(audit(network, held_out).record["cascades"]) == 2


SPECIAL = {
    "grappa": "needs a multi-coil Cartesian scan",
    "pocs": "needs a multi-coil Cartesian scan",
    "low-rank": "low rank needs a series of images",
    "filtered-back-projection": "needs a scan of tomography",
    "expectation-maximization": "needs a scan of counts",
}


@pytest.mark.parametrize("name", [*CLASSICAL, *SAMPLERS])
def test_every_method_solves_a_real_problem_or_says_why_not(name: str, tmp_path: Path) -> None:
    save(Prior(channels=[4, 6]), tmp_path / "prior")
    method = open_method(name, **({"prior": str(tmp_path / "prior"), "nfe": 6} if name in SAMPLERS else {}))
    problem = case("inpainting", 0).problem
    if name in SPECIAL:
        with pytest.raises(ConfigError, match=SPECIAL[name]):
            method(problem)
        return
    image = method(problem).image
    assert image.dtype == torch.float32
    assert bool(torch.isfinite(image).all())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Convolution(torch.ones(3), SIZE), r"kernel must be \(y, x\) .*; got \(3,\)"),
        (lambda: Convolution(torch.ones(40, 3), SIZE), r"fit into the image \(32, 28\); got \(40, 3\)"),
        (lambda: Convolution(torch.full((3, 3), torch.nan), SIZE), "finite and not zero"),
        (lambda: Convolution(1j * box(3), SIZE)(torch.ones(1, *SIZE)), "a complex kernel blurs complex images"),
        (lambda: Convolution(box(3), SIZE, 3), r"must divide both sides of the image \(32, 28\); got 3"),
        (lambda: Inpainting(torch.ones(SIZE)), r"must be bool \(y, x\) .*; got torch.float32"),
        (lambda: Inpainting(~torch.ones(SIZE, dtype=torch.bool)), "true somewhere"),
        (lambda: gaussian(-1.0), "positive number of pixels; got -1"),
        (lambda: Scan(torch.ones(1, 16, 14), Linear(OPERATORS["blur"], SIZE)), r"must be \(image, 32, 28\); got"),
        (lambda: Scan(torch.ones(1, 32, 28, dtype=torch.int), Linear(OPERATORS["blur"], SIZE)), "floating-point"),
        (lambda: prepare(Scan(torch.ones(1, 32, 28), Linear(OPERATORS["blur"], SIZE))), "needs its noise_std; got"),
    ],
)
def test_bad_input_is_named(make: object, said: str) -> None:
    with pytest.raises((ConfigError, DataFormatError), match=said):
        make()  # type: ignore[operator]
