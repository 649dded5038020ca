"""Masks: the fastMRI package as an exact oracle, the promised acceleration, and impossible demands."""

from __future__ import annotations

import pytest
import torch

from benchmarks.mask_parity import FASTMRI, cases, checksum
from benchmarks.record import result
from laminar.data.masks import MASK_KINDS, make_kt_mask, make_mask, seed_of_file
from laminar.data.plane_masks import PLANE_KINDS
from laminar.errors import ConfigError


def test_line_masks_equal_what_fastmri_made() -> None:
    """1000 random sizes, rates, fractions and seeds a kind, by checksums of what the package's own code gives."""
    made = result("mask_parity")["kinds"]
    assert set(made) == set(FASTMRI)
    for kind, record in made.items():
        assert record["equal"] == record["trials"] >= 1000
        assert (
            checksum(make_mask(kind, (1, c.n), c.acceleration, c.lines, c.seed, offset=c.offset) for c in cases(kind))
            == record["sha256"]
        )


def test_several_rates_are_drawn_from_as_fastmri_does() -> None:
    subsample = pytest.importorskip("fastmri.data.subsample")
    for name in ("file1000031.h5", "file1000052.h5", "file1001.h5", "e14089s3.h5"):
        seed = seed_of_file(name)
        expected = subsample.RandomMaskFunc([0.08, 0.04], [4, 8])((1, 368, 1), seed=seed)[0].bool().ravel()
        assert torch.equal(make_mask("random", (1, 368), [4, 8], [0.08, 0.04], seed)[0], expected)
    with pytest.raises(ConfigError, match="as many accelerations"):
        make_mask("random", (1, 368), [4, 8], [0.08], 0)


@pytest.mark.parametrize("kind", FASTMRI)
@pytest.mark.parametrize(("n", "acceleration", "fraction"), [(368, 4, 0.08), (97, 3, 0.1), (180, 8, 0.04)])
@pytest.mark.parametrize("seed", [0, 5, tuple(map(ord, "file1000031.h5"))])
def test_line_masks_equal_fastmri(
    kind: str, n: int, acceleration: int, fraction: float, seed: int | tuple[int, ...]
) -> None:
    subsample = pytest.importorskip("fastmri.data.subsample")
    oracle = getattr(subsample, FASTMRI[kind])([fraction], [acceleration])
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
    full = make_mask(kind, (12, 20), 1, 4, seed=0)
    assert full.all() if kind != "calgary" else full[:, :17].all()
    if kind not in ("equispaced", "magic", "calgary"):
        lines, plane = 5, kind in PLANE_KINDS
        mask = make_mask(kind, (20, 20), 16 if plane else 4, lines, seed=0)
        assert int(mask.sum()) == lines * (lines if plane else 20)


def test_equispaced_lines_go_on_where_the_calibration_lines_are_as_many_as_r_leaves() -> None:
    for kind in ("equispaced", "magic"):
        assert make_mask(kind, (4, 96), 4, 24, seed=0)[0].sum() > 24


@pytest.mark.parametrize("kind", ["gaussian", "gaussian-2d", "radial", "spiral", "calgary"])
@pytest.mark.parametrize(("acceleration", "lines"), [(1.1, 4), (5, 12), (9, 0)])
def test_acceleration_is_exact_the_center_full_and_the_rim_thin(kind: str, acceleration: float, lines: int) -> None:
    mask = make_mask(kind, (97, 120), acceleration, lines, seed=3)
    counted = mask[0] if kind == "gaussian" else mask[:, :102] if kind == "calgary" else mask
    assert int(counted.sum()) == round(counted.numel() / acceleration)
    assert kind != "calgary" or not mask[:, 102:].any()
    middle = mask[48 - lines // 3 : 48 + lines // 3 + 1, 60 - lines // 3 : 60 + lines // 3 + 1]
    assert lines == 0 or middle.all()
    if acceleration == 5 and kind != "calgary":
        assert mask[:, 40:80].float().mean() > 1.5 * mask[:, :30].float().mean()
    assert not torch.equal(mask, make_mask(kind, (97, 120), acceleration, lines, seed=4))


@pytest.mark.parametrize(("acceleration", "true"), [(5, 5.86), (10, 11.7)])
def test_calgary_masks_are_as_the_challenge_has_them(acceleration: int, true: float) -> None:
    """Measured on its own: R of the acquired 85 % of kz, all of the circle d < 18, one density outside of it."""
    mask = make_mask("calgary", (218, 170), acceleration, 36, seed=0)
    assert not mask[:, 145:].any()
    assert mask.numel() / mask.sum() == pytest.approx(true, rel=0.005)
    y, x = torch.arange(218)[:, None] - 109, torch.arange(170) - 85
    distance = (y**2 + x**2).sqrt()
    circle = distance < 18
    assert int(circle.sum()) == 1005
    assert mask[circle].all()
    density = [float(mask[:, :145][((distance > a) & (distance < a + 30))[:, :145]].float().mean()) for a in (20, 70)]
    assert density[0] == pytest.approx(density[1], rel=0.15)


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_frames_differ_and_keep_their_acceleration_and_center(kind: str) -> None:
    series = make_kt_mask(kind, 6, (48, 64), 4, 8, seed=5)
    assert torch.equal(series[0], make_mask(kind, (48, 64), 4, 8, seed=5))
    assert series[:, 22:26, 30:34].all()
    counts = series.sum((1, 2)).float()
    assert (counts.max() - counts.min()) / counts.mean() < (0.5 if kind == "random" else 0.2)
    assert len({frame.numpy().tobytes() for frame in series}) == {"equispaced": 4, "magic": 2}.get(kind, 6)
    if kind == "equispaced":  # together they have every line
        assert series[:4].any(0).all()


@pytest.mark.parametrize(
    ("kind", "acceleration", "lines", "message"),
    [
        ("rosette", 4, 8, "unknown mask 'rosette': choose one of random"),
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
