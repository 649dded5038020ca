"""GRAPPA on data that obey a kernel, on simulated scans, and on masks that it cannot do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from laminar.classical import cg_sense_method, grappa, grappa_method, zero_filled_method
from laminar.data.masks import make_mask
from laminar.data.preparation import prepare
from laminar.data.simulation import simulate_slice
from laminar.errors import ConfigError
from laminar.metrics import fastmri_metrics
from laminar.operators import ifft2c
from laminar.reconstruction import reconstruct

N_COILS = 8


def harmonics(matrix: tuple[int, int], batch: int = 2) -> Tensor:
    """Coils `exp(2 pi i c y / n)` of a random image inside k-space: coil c is k-space shifted by c lines.

    Every line is another line of another coil, exactly, but for the first and the last few.
    """
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(batch, matrix[0] + N_COILS, matrix[1], dtype=torch.complex128, generator=generator)
    return torch.stack([base[:, c : c + matrix[0]] for c in range(N_COILS)], 1)


def rss(kspace: Tensor) -> Tensor:
    return ifft2c(kspace).abs().square().sum(1).sqrt()


@pytest.mark.parametrize("axis", [-2, -1])
@pytest.mark.parametrize(("kind", "acceleration"), [("equispaced", 2), ("equispaced", 4), ("equispaced-fraction", 3)])
def test_exact_on_data_that_obey_a_kernel(kind: str, acceleration: float, axis: int) -> None:
    full = harmonics((72, 20))
    mask = make_mask(kind, (72, 20), acceleration, 16, 0, axis=-2)
    if axis == -1:
        full, mask = full.mT, mask.mT
    found = grappa(full * mask, mask)
    assert torch.equal(found[..., mask], full[..., mask])
    assert not bool((found == 0).any())
    lines = found if axis == -2 else found.mT
    truth = full if axis == -2 else full.mT
    inside = slice(N_COILS, -N_COILS)
    torch.testing.assert_close(lines[..., inside, :], truth[..., inside, :], rtol=0, atol=1e-3)  # of about 1: the floor


def test_scales_with_the_data_and_slices_do_not_know_each_other() -> None:
    full = simulate_slice("brain", (64, 48), 4, 0.02, torch.Generator().manual_seed(0)).kspace.to(torch.complex128)
    mask = make_mask("equispaced", (64, 48), 2, 16, 0)
    y = torch.stack([full, full.flip(0) * 1j]) * mask
    both = grappa(y, mask, torch.tensor([0.02, 0.1], dtype=torch.float64))
    torch.testing.assert_close(grappa(y[1:], mask, 0.1), both[1:], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(
        grappa(1e4 * y, mask, torch.tensor([2e2, 1e3], dtype=torch.float64)), 1e4 * both, rtol=1e-8, atol=1e-8
    )
    assert not torch.allclose(grappa(y[1:], mask, 0.0), both[1:], rtol=1e-3)


@pytest.mark.parametrize(("n_coils", "acceleration"), [(4, 4), (8, 4), (8, 5), (16, 4)])
def test_data_without_noise_are_no_worse_than_data_with_little(n_coils: int, acceleration: float) -> None:
    """Equations that only rounding makes solvable gave kernels of huge weights, and images worse than zero filling."""
    mask = make_mask("equispaced", (96, 96), acceleration, 24, 0)
    psnr = {}
    for noise in (0.0, 1e-3):
        full = simulate_slice("brain", (96, 96), n_coils, noise, torch.Generator().manual_seed(1)).scan
        y = full.kspace * mask
        images = {"grappa": grappa(y, mask, full.noise_std or 0.0), "zero filled": y}
        truth = rss(full.kspace)
        psnr[noise] = {name: fastmri_metrics(rss(k), truth)["psnr"] for name, k in images.items()}
    assert psnr[0.0]["grappa"] > psnr[0.0]["zero filled"] + 3
    assert psnr[0.0]["grappa"] > psnr[1e-3]["grappa"] - 0.5


def test_better_than_sense_where_lines_are_plenty() -> None:
    sample = simulate_slice("brain", (64, 48), 6, 0.003, torch.Generator().manual_seed(106))
    scan = sample.scan.undersample(make_mask("equispaced", (64, 48), 2, 16, 0))
    psnr = {
        method.__name__: fastmri_metrics(reconstruct(scan, method).magnitude, sample.target)["psnr"]
        for method in (zero_filled_method, cg_sense_method, grappa_method)
    }
    assert psnr["grappa_method"] > psnr["cg_sense_method"] > psnr["zero_filled_method"] + 6
    problem = prepare(scan)
    trajectory = grappa_method(problem)
    assert [s.shape for s in trajectory.states] == [(1, 64, 48)] * 2
    assert trajectory.nfe == 0


def test_zero_padding_and_an_asymmetric_echo_stay_zero() -> None:
    full = harmonics((72, 20))
    mask = make_mask("equispaced", (72, 20), 2, 16, 0, axis=-2)
    mask[:16] = mask[-16:] = False
    mask[:, :5] = False
    found = grappa(full * mask, mask)
    assert not bool(found[..., :5].any())
    assert not bool(found[..., :14, 5:].any())
    assert bool((found[..., 17:55, 5:] != 0).all())


def test_everything_acquired_is_returned() -> None:
    full = harmonics((12, 8))
    assert torch.equal(grappa(full, torch.ones(12, 8, dtype=torch.bool)), full)


def test_masks_and_settings_that_it_cannot_do() -> None:
    y = harmonics((40, 40))
    poisson = make_mask("poisson", (40, 40), 4, 10, 0)
    bare = torch.zeros(40, 40, dtype=torch.bool)
    bare[1::4] = True
    for mask, message in ((poisson, "whole lines"), (bare, "calibration"), (bare & False, "whole lines")):
        with pytest.raises(ConfigError, match=message):
            grappa(y * mask, mask)
    mask = make_mask("equispaced", (40, 40), 2, 10, 0)
    for wrong in ({"n_lines": 3}, {"width": 2}, {"weight": -1.0}):
        with pytest.raises(ConfigError, match="n_lines"):
            grappa(y * mask, mask, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="mask"):
        grappa(y, mask[:20])
