"""A geometry that the house has never seen, end to end: blurred images, trained, reconstructed and audited."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from laminar.audit import audit
from laminar.classical import cg_sense_method
from laminar.data.cases import Case
from laminar.data.masks import make_mask
from laminar.data.preparation import prepare
from laminar.data.simulation.phantoms import phantom
from laminar.errors import DataFormatError
from laminar.geometry import Cartesian, Linear
from laminar.models import RegularizerConfig, UnrolledConfig, UnrolledNetwork
from laminar.operators import LinearOperator, fft2c, ifft2c
from laminar.reconstruction import reconstruct
from laminar.runtime import seed_of
from laminar.scan import Scan, cartesian
from laminar.training.config import TrainConfig
from laminar.training.loop import make_fabric, train
from laminar.training.state import RunFolder

SIZE, NOISE_STD = (32, 28), 0.02


class Blur(LinearOperator):
    """Circular convolution with a Gaussian of a width in pixels."""

    def __init__(self, width: float) -> None:
        y, x = (torch.linspace(-0.5, 0.5, n + 1)[:-1] for n in SIZE)
        self.transfer = torch.exp(-2 * (torch.pi * width) ** 2 * (y[:, None] ** 2 + x**2))

    def forward(self, x: Tensor) -> Tensor:
        return ifft2c(self.transfer * fft2c(x))

    adjoint = forward

    @staticmethod
    def stack(operators: object) -> LinearOperator:
        return BLUR


BLUR = Blur(1.0)


def blurred(seed: int) -> Case:
    generator = torch.Generator().manual_seed(seed)
    image = phantom("brain", SIZE, generator)[None]
    noise = NOISE_STD * torch.randn(image.shape, dtype=torch.complex64, generator=generator)
    problem = prepare(Scan(BLUR.forward(image) + noise, Linear(BLUR, SIZE), noise_std=NOISE_STD))
    return Case(problem, image / problem.scale[:, None, None], f"blurred {seed}")


@dataclass(frozen=True)
class Blurs:
    """A stream of training problems."""

    def batch(self, index: int) -> Case:
        return Case.stack([blurred(seed_of(1, index, k)) for k in range(2)])


def test_an_unknown_geometry_is_trained_reconstructed_and_audited(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = UnrolledNetwork(config=UnrolledConfig(n_cascades=2, regularizer=RegularizerConfig(channels=[8, 8])))
    config = TrainConfig(model=network.config, steps=2, validate_every=2, accelerator="cpu")
    held_out = [blurred(seed) for seed in range(2)]
    outcome = train(make_fabric(config), network, Blurs(), held_out, config, RunFolder(tmp_path / "run"))
    assert outcome.validation["psnr"] > outcome.validation["psnr_per_cascade"][0]

    case = held_out[0]
    scan = Scan(case.problem.y * case.problem.scale, Linear(BLUR, SIZE), noise_std=NOISE_STD)
    result = reconstruct(scan, network)
    truth = case.image * case.problem.scale
    errors = [float((image - truth).norm()) for image in (result.image, reconstruct(scan, cg_sense_method).image)]
    assert max(errors) < float((scan.data - truth).norm()), "sharper than what was measured"

    record = audit(network, held_out).record
    assert record["data"]["n_slices"] == 2
    assert len(record["cascades"]) == 2


def test_the_images_of_a_series_may_have_masks_of_their_own() -> None:
    """Cine with a mask a frame: image by image it is the scan of that frame."""
    masks = torch.stack([make_mask("random", (24, 32), 2, 8, seed) for seed in range(3)])
    kspace = torch.randn(3, 2, 24, 32, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    scan = cartesian(kspace * masks[:, None], masks, series={"phase": 3}, noise_std=0.1)
    whole = prepare(scan)
    for index in range(3):
        frame = scan.slice(index)
        assert torch.equal(frame.mask, masks[index])
        alone = prepare(cartesian(kspace[index : index + 1] * masks[index], masks[index], noise_std=0.1))
        torch.testing.assert_close(prepare(frame).y, alone.y)
        assert torch.equal(whole.encoding.mask[index], masks[index])
    assert scan.measured_acceleration == pytest.approx(float(masks.numel() / masks.sum()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"geometry": Cartesian(torch.ones(4, 5, dtype=torch.bool))}, r"mask must be bool \(4, 6\)"),
        ({"geometry": Linear(BLUR, SIZE)}, r"must have the axes \(image, y, x\)"),
        ({"series": {"phase": 2, "slice": 3}}, "a series .* has as many images; got 2"),
        ({"noise_std": -1.0}, "noise level must be finite"),
        ({"placements": ()}, "a placement for each of 2 images; got 0"),
    ],
)
def test_parts_of_a_scan_that_do_not_fit_are_named(change: dict[str, object], said: str) -> None:
    whole = {"data": torch.ones(2, 3, 4, 6, dtype=torch.complex64)}
    whole["geometry"] = Cartesian(torch.ones(4, 6, dtype=torch.bool))  # type: ignore[assignment]
    with pytest.raises(DataFormatError, match=f"^mine: .*{said}"):
        Scan(**whole | change, name="mine")  # type: ignore[arg-type]
