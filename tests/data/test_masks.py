"""Masks: the fastMRI package as an exact oracle, the promised acceleration, and impossible demands."""

from __future__ import annotations

import pytest
import torch

from laminar.data.masks import MASK_KINDS, make_mask
from laminar.errors import ConfigError

_FASTMRI = {
    "random": "RandomMaskFunc",
    "equispaced": "EquiSpacedMaskFunc",
    "equispaced-fraction": "EquispacedMaskFractionFunc",
    "magic": "MagicMaskFunc",
    "magic-fraction": "MagicMaskFractionFunc",
}


@pytest.mark.parametrize("kind", _FASTMRI)
@pytest.mark.parametrize(("n", "acceleration", "fraction"), [(368, 4, 0.08), (97, 3, 0.1), (180, 8, 0.04)])
@pytest.mark.parametrize("seed", [0, 5, tuple(map(ord, "file1000031.h5"))])
def test_line_masks_equal_fastmri(
    kind: str, n: int, acceleration: int, fraction: float, seed: int | tuple[int, ...]
) -> None:
    subsample = pytest.importorskip("fastmri.data.subsample")
    oracle = getattr(subsample, _FASTMRI[kind])([fraction], [acceleration])
    expected = oracle((1, n, 1), seed=seed)[0].bool().ravel()
    for lines in (fraction, round(fraction * n)):
        mask = make_mask(kind.replace("-", "_"), (3, n), acceleration, lines, seed)
        assert mask.dtype == torch.bool
        assert torch.equal(mask, expected.expand(3, n))
    assert torch.equal(make_mask(kind, (n, 3), acceleration, fraction, seed, axis=-2), expected[:, None].expand(n, 3))


@pytest.mark.parametrize("n", [180, 218, 256])
@pytest.mark.parametrize("seed", range(5))
def test_fourteen_calibration_lines_at_six_fold(n: int, seed: int) -> None:
    mask = make_mask("equispaced-fraction", (8, n), 6, 14, seed)
    assert mask.numel() / mask.sum() == pytest.approx(6, rel=0.1)
    assert mask[:, n // 2 - 7 : n // 2 + 7].all()


@pytest.mark.parametrize(
    ("matrix", "acceleration", "lines"), [((218, 170), 6, 16), ((65, 48), 2.5, 9), ((96, 96), 12, 0)]
)
def test_poisson_meets_the_acceleration_and_thins_out(matrix: tuple[int, int], acceleration: float, lines: int) -> None:
    mask = make_mask("poisson", matrix, acceleration, lines, seed=3)
    assert int(mask.sum()) == round(mask.numel() / acceleration)
    y, x = ((n - lines + 1) // 2 for n in matrix)
    assert mask[y : y + lines, x : x + lines].all()
    ny, nx = matrix
    inner, total = mask[ny // 4 : -(ny // 4), nx // 4 : -(nx // 4)].sum(), mask.sum()
    assert inner > 0.4 * total  # a quarter of the area
    assert torch.equal(mask, make_mask("poisson", matrix, acceleration, lines, seed=3))
    assert not torch.equal(mask, make_mask("poisson", matrix, acceleration, lines, seed=4))


def test_poisson_samples_keep_their_distance() -> None:
    mask = make_mask("poisson", (128, 128), 8, 12, seed=0)
    edge = mask[:24]  # there the smallest disc is wider than one sample
    assert edge.any()
    assert not (edge[:, 1:] & edge[:, :-1]).any()
    assert not (edge[1:] & edge[:-1]).any()


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_full_sampling_and_center_alone(kind: str) -> None:
    assert make_mask(kind, (12, 20), 1, 4, seed=0).all()
    if kind not in ("equispaced", "magic"):
        lines = 5
        mask = make_mask(kind, (20, 20), 16 if kind == "poisson" else 4, lines, seed=0)
        assert int(mask.sum()) == lines * (lines if kind == "poisson" else 20)


@pytest.mark.parametrize(
    ("kind", "acceleration", "lines", "message"),
    [
        ("radial", 4, 8, "unknown mask 'radial': choose one of random"),
        ("random", 0.5, 8, "between 1 and 64; got 0.5"),
        ("random", float("nan"), 8, "between 1 and 64; got nan"),
        ("equispaced", 65, 0, "between 1 and 64; got 65"),
        ("random", 4, 65, "whole number up to 64 or a fraction below 1; got 65"),
        ("random", 4, -1, "got -1"),
        ("random", 4, 2.5, "got 2.5"),
        ("equispaced-fraction", 8, 14, "leaves 8.0 of 64 lines, but 14 are calibration lines"),
        ("poisson", 8, 32, "leaves 512.0 of 4096 samples, but 1024 are calibration samples"),
        ("magic", 2.5, 8, "whole acceleration; got 2.5"),
    ],
)
def test_impossible_demands_are_refused(kind: str, acceleration: float, lines: float, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_mask(kind, (64, 64), acceleration, lines, seed=0)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "0", (), (3, -1)])
def test_seeds_out_of_range_are_refused(seed: object) -> None:
    for kind in MASK_KINDS:
        with pytest.raises(ConfigError, match="seed of a mask"):
            make_mask(kind, (64, 64), 2, 8, seed=seed)  # type: ignore[arg-type]


def test_the_largest_seed_is_allowed() -> None:
    for kind in MASK_KINDS:
        assert make_mask(kind, (64, 64), 2, 8, seed=2**32 - 1).any()
