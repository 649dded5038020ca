"""Intervals that hold what they promise: exact for a Gaussian, guaranteed by conformal risk control, strict on disk."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

from laminar.calibration import Ratios, calibrate, ratios_of
from laminar.cli.samples import Intervals
from laminar.data.preparation import Problem
from laminar.errors import CheckpointError, ConfigError
from laminar.operators import Encoding
from laminar.reconstruction import SliceReconstruction
from laminar.store import writing_reconstruction
from laminar.theory import Gaussian
from laminar.uncertainty import (
    Calibration,
    Spread,
    check_fits,
    coverage,
    read_calibration,
)

R = torch.float64
FITTED = Calibration(
    method="network",
    fingerprint="5eed",
    settings={"nfe": None},
    samples=4,
    level=0.9,
    kind="conformal",
    factor=2.5,
    data={"source": "nothing"},
    object_fraction=0.1,
    slices=20,
    pixels=1000,
    coverage_before=0.5,
    coverage_after=0.92,
    coverage_held_out=0.91,
    coverage_held_out_std=0.02,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=R, generator=seeded(seed))


@pytest.mark.parametrize("n", [2, 3, 5, 16])
def test_an_exact_posterior_sampler_covers_exactly_the_level_for_every_n(n: int) -> None:
    """Image and samples from one posterior N(mu_y, C), by the flow map from a noisy source: coverage = level."""
    count, tau, level = 40_000, 0.7, 0.8
    root = randn(3, 3, seed=1)
    prior = Gaussian(randn(3, seed=2), root @ root.T + 0.1 * torch.eye(3, dtype=R))
    posterior = prior.given(randn(2, 3, seed=3), randn(2, seed=4), 0.5)
    source = randn(3, seed=5)
    samples = posterior.flow_map(source + tau * randn(n * count, 3, seed=6), source=source, tau=tau)
    lower, upper = Spread.of(samples.view(n, count, 3)).interval(level)
    truth = posterior.sample(count, seeded(7))
    inside = ((lower <= truth) & (truth <= upper)).double().mean(0)
    assert float((inside - level).abs().max()) < 4 * math.sqrt(level * (1 - level) / count)


def slices_of(n: int, pixels: int, narrow: float, seed: int, samples: int = 8) -> list[Tensor]:
    """Ratios of slices whose samples and truth are standard normal, but the samples `narrow` times too narrow."""
    draws, truth = randn(samples, n, pixels, seed=seed) / narrow, randn(n, pixels, seed=seed + 1)
    # The mean of few samples errs by itself; that part is not made narrower, so that the answer is known.
    spread = Spread.of(draws + (1 - 1 / narrow) * randn(samples, n, pixels, seed=seed).mean(0))
    everywhere = torch.ones(pixels, dtype=torch.bool)
    return [
        ratios_of(Spread(spread.mean[i], spread.std[i], samples), truth[i], everywhere, level=0.9) for i in range(n)
    ]


@pytest.mark.parametrize("narrow", [1.0, 3.0, 0.5])
def test_scale_finds_how_many_times_too_narrow_a_sampler_is(narrow: float) -> None:
    found = Ratios(slices_of(10, 20_000, narrow, seed=1)).factor(0.9, "scale")
    assert found / narrow == pytest.approx(1, abs=0.01)


def loss_of_new_slices(n: int, level: float, kind: str) -> tuple[float, float]:
    """Mean and its error of what a new slice has outside, over many draws of n + 1 slices of very unlike difficulty."""
    trials, generator = 3000, seeded(3)
    difficulty = torch.exp(1.5 * torch.randn(trials, n + 1, 1, dtype=R, generator=generator))
    ratios = difficulty * torch.randn(trials, n + 1, 40, dtype=R, generator=generator).abs()
    factors = torch.tensor([Ratios(list(trial[:n])).factor(level, kind) for trial in ratios], dtype=R)
    losses = (ratios[:, n] > factors[:, None]).double().mean(1)
    return float(losses.mean()), float(losses.std()) / math.sqrt(trials)


@pytest.mark.parametrize("n", [4, 5, 40])
def test_conformal_loss_of_a_new_slice_is_below_the_bound_and_not_far_below(n: int) -> None:
    """1 - level - 2 / (n + 1) <= E[loss of an exchangeable slice] <= 1 - level."""
    mean, error = loss_of_new_slices(n, 0.8, "conformal")
    assert mean <= 0.2 + 3 * error
    assert mean >= 0.2 - 2 / (n + 1) - 3 * error


def test_the_plain_fit_has_no_such_guarantee() -> None:
    mean, error = loss_of_new_slices(5, 0.8, "scale")
    assert mean > 0.2 + 3 * error


def brute_force(slices: list[Tensor], level: float, kind: str) -> float:
    """The definition, tried at every value that the losses can jump at."""
    n = len(slices)
    for factor in sorted({0.0, *torch.cat(slices).tolist()}):
        pooled = float((torch.cat(slices) > factor).double().mean())
        loss = sum(float((one > factor).double().mean()) for one in slices) / n
        if (pooled if kind == "scale" else n / (n + 1) * loss + 1 / (n + 1)) <= 1 - level + 1e-12:
            return factor
    raise AssertionError("no factor")


@pytest.mark.parametrize("kind", ["scale", "conformal"])
@pytest.mark.parametrize("seed", range(6))
def test_factors_are_exact_with_ties_zeros_and_unequal_slices(kind: str, seed: int) -> None:
    sizes = torch.randint(1, 9, (14,), generator=seeded(seed)).tolist()
    slices = [torch.randint(0, 7, (size,), generator=seeded(10 * seed + i)) / 4 for i, size in enumerate(sizes)]
    for level in (0.5, 0.75, 0.9):
        assert Ratios(slices).factor(level, kind) == brute_force(slices, level, kind)
    assert Ratios(slices).factor(0.75, kind, without=3) == brute_force(slices[:3] + slices[4:], 0.75, kind)


def test_pixels_without_spread_are_covered_where_they_are_right_and_never_where_they_are_wrong() -> None:
    spread = Spread(torch.ones(4), torch.tensor([0.0, 0.0, 1.0, 1.0]), 2)
    truth = torch.tensor([1.0, 2.0, 1.0, 3.0])
    ratios = ratios_of(spread, truth, torch.ones(4, dtype=torch.bool), level=0.5)
    expected = torch.tensor([0, math.inf, 0, 2 / math.sqrt(1.5)], dtype=R)
    torch.testing.assert_close(ratios, expected, rtol=1e-7, atol=0)
    assert Ratios([ratios]).factor(0.5, "scale") == 0
    assert Ratios([ratios]).factor(0.75, "scale") == pytest.approx(2 / math.sqrt(1.5))
    with pytest.raises(ConfigError, match=r"in 25\.0% of the object pixels all samples are equal and wrong"):
        Ratios([ratios]).factor(0.9, "scale")


def test_too_few_slices_are_refused_with_the_number_that_is_needed() -> None:
    slices = [torch.ones(5)] * 9
    assert Ratios(slices).factor(0.9, "conformal") == 1
    with pytest.raises(ConfigError, match=r"level 0\.9 needs at least 9 slices; there are 8"):
        Ratios(slices[1:]).factor(0.9, "conformal")


def test_object_pixels_are_bright_ones_of_each_slice_by_itself() -> None:
    mean = torch.zeros(2, 10, 20)
    mean[0, 2:6, 3:9], mean[1, 4:9, 5:15] = 1.0, 100.0
    mean[0, 0, 0], mean[1, 0, 0] = 0.09, 11.0
    expected = mean > 0.5
    assert torch.equal(Spread(mean, mean, 2).object_pixels, expected)
    assert coverage(mean - 1, mean + 1, torch.where(mean == 1, 3.0, mean), expected) == pytest.approx(51 / 75)


def problem(noise: float = 1.0) -> Problem:
    kspace = torch.zeros(1, 1, 12, 12, dtype=torch.complex64)
    ones = torch.ones(1)
    return Problem(kspace, Encoding(kspace.real[:, 0] == 0, kspace + 1), noise * ones, ones)


def sampler(narrow: float) -> Any:
    """Samples 10 + noise, `narrow` times too narrow, of images 10 + noise."""
    return lambda problem, generator: 10 + torch.randn(1, 12, 12, dtype=torch.complex64, generator=generator) / narrow


def known(narrow: float, count: int = 60, **options: Any) -> tuple[Calibration, list[Any]]:
    draw = sampler(1.0)
    cases = [(problem(), draw(problem(), seeded(1_000 + i))) for i in range(count)]
    who = {"method": "network", "fingerprint": "5eed", "settings": {}, "data": {"source": "a test"}}
    return calibrate(sampler(narrow), cases, **who, **options)


@pytest.mark.parametrize("kind", ["scale", "conformal"])
def test_calibration_brings_held_out_slices_to_the_level(kind: str) -> None:
    made, slices = known(3.0, samples=8, level=0.9, kind=kind)
    assert made.coverage_before < 0.5
    assert made.coverage_held_out == pytest.approx(0.9, abs=0.02)
    assert made.coverage_held_out == pytest.approx(sum(one.held_out for one in slices) / 60)
    assert made.pixels == sum(one.pixels for one in slices) == 60 * 144
    assert known(3.0, samples=8, level=0.9, kind=kind)[0] == made
    fresh = sampler(3.0)
    spread = Spread.of(torch.stack([fresh(None, seeded(i)).abs() for i in range(8)]))
    truth = sampler(1.0)(None, seeded(77)).abs()
    inside = coverage(*spread.interval(0.9, made), truth, spread.object_pixels)
    assert inside == pytest.approx(0.9, abs=0.1)
    assert coverage(*spread.interval(0.9), truth, spread.object_pixels) < 0.6


def test_a_held_out_slice_is_judged_without_its_own_pixels() -> None:
    """Of two slices one is far off: its own ratios bring half of it inside, those of the other one nothing."""
    draw = sampler(1.0)
    cases = [(problem(), draw(None, seeded(1_000)) + 100), (problem(), draw(None, seeded(1_001)))]
    who = {"method": "network", "fingerprint": None, "settings": {}, "data": {}}
    _, slices = calibrate(draw, cases, **who, samples=4, level=0.75, kind="scale")
    assert [one.after for one in slices] == pytest.approx([0.5, 1])
    assert [one.held_out for one in slices] == [0, 1]


def test_calibration_refuses_too_few_slices_before_it_draws() -> None:
    with pytest.raises(ConfigError, match="needs at least 10 slices; there are 9"):
        known(1.0, count=9)
    with pytest.raises(ConfigError, match="unknown kind 'bonferroni'"):
        known(1.0, kind="bonferroni")
    with pytest.raises(ConfigError, match="samples are not finite"):
        known(0.0)


def test_a_calibration_comes_back_from_its_file_and_the_file_is_strict(tmp_path: Path) -> None:
    path = tmp_path / "uncertainty.json"
    FITTED.write(path)
    assert read_calibration(path) == FITTED
    values = json.loads(path.read_text())
    for change, said in (
        ({"format": "other"}, "expected a file of format 'laminar-uncertainty'"),
        ({"version": 1}, "expected version 2; got 1"),
        ({"surprise": 1}, "missing or unknown keys: surprise"),
        ({"factor": math.nan}, "factor must be a number"),
        ({"factor": "2"}, "factor must be a number"),
        ({"samples": 1}, "samples must be"),
        ({"slices": True}, "slices must be"),
        ({"level": 1.0}, "level of an interval"),
        ({"kind": "guess"}, "unknown kind 'guess'"),
        ({"fingerprint": 3}, "fingerprint must be"),
    ):
        path.write_text(json.dumps(values | change))
        with pytest.raises(CheckpointError, match=said):
            read_calibration(path)
    path.write_text(json.dumps({key: value for key, value in values.items() if key != "factor"}))
    with pytest.raises(CheckpointError, match="unknown keys: factor"):
        read_calibration(path)
    path.write_text("{")
    with pytest.raises(CheckpointError, match="no calibration, which laminar calibrate writes"):
        read_calibration(path)
    with pytest.raises(CheckpointError, match=r"absent\.json: No such file"):
        read_calibration(tmp_path / "absent.json")
    assert set(values) == {"format", "version", *asdict(FITTED)}


def test_intervals_far_from_the_accelerations_of_their_calibration_are_doubted() -> None:
    fitted = Intervals(0.9, replace(FITTED, data={"acceleration": [4.0, 8.0]}))
    assert fitted.doubts(3.6) == fitted.doubts(9.0) == Intervals(0.9, FITTED).doubts(2.0) == []
    (said,) = fitted.doubts(2.0)
    assert "calibrated at R = 4 and 8, and this is R = 2.0" in said


def test_a_calibration_serves_only_what_it_was_made_for() -> None:
    check_fits(FITTED, "5eed", 4, method="network", settings={"nfe": None})
    for fingerprint, n, more, said in (
        ("other", 4, {}, "fingerprint '5eed', this is 'other'"),
        (None, 4, {}, "this is None"),
        ("5eed", 8, {}, "samples 4, this is 8"),
        ("5eed", 4, {"settings": {"nfe": 19}}, "settings"),
    ):
        with pytest.raises(ConfigError, match=said):
            check_fits(FITTED, fingerprint, n, **more)
    spread = Spread(torch.zeros(2), torch.ones(2), 4)
    lower, upper = spread.interval(0.9, FITTED)
    torch.testing.assert_close(upper - lower, 5 * spread.half_width(0.9), rtol=1e-6, atol=0)
    with pytest.raises(ConfigError, match=r"level 0\.9, this is 0\.8"):
        spread.interval(0.8, FITTED)
    with pytest.raises(ConfigError, match="samples 4, this is 5"):
        replace(spread, n=5).interval(0.9, FITTED)


def test_a_spread_needs_two_real_samples() -> None:
    with pytest.raises(ConfigError, match="at least 2 samples; got 1"):
        Spread.of(torch.zeros(1, 3))
    with pytest.raises(ConfigError, match="real samples"):
        Spread.of(torch.zeros(4, 3, dtype=torch.complex64))
    with pytest.raises(ConfigError, match=r"equally many samples go together; got \[2, 3\]"):
        Spread.stack([Spread(torch.zeros(1), torch.zeros(1), n) for n in (2, 3)])


def test_the_spread_is_stored_beside_the_image(tmp_path: Path) -> None:
    """Standard deviation and ends of the intervals as float32, which cross zero in no magnitude, and what they are.

    The magnitude that is written is their center, whatever that of the complex mean is.
    """
    image = torch.ones(3, 2, dtype=torch.complex64)
    spreads = [Spread(torch.full((3, 2), 5.0), torch.full((3, 2), std), 4) for std in (0.1, 100.0)]
    for calibration, factor, kind in ((FITTED, 2.5, "conformal"), (None, 1.0, "none")):
        with writing_reconstruction(tmp_path / "a.h5", 2, {}, level=0.9, calibration=calibration) as write:
            for spread in spreads:
                write(SliceReconstruction(image, None, None, 1, spread=spread))
        half = [factor * float(spread.half_width(0.9)[0, 0]) for spread in spreads]
        with h5py.File(tmp_path / "a.h5") as file:
            assert np.array_equal(file["reconstruction_complex"], np.ones((2, 3, 2)))
            assert np.array_equal(file["reconstruction"], np.full((2, 3, 2), 5))
            for name, values in {
                "uncertainty_std": [0.1, 100.0],
                "interval_lower": [5 - half[0], 0.0],
                "interval_upper": [5 + half[0], 5 + half[1]],
            }.items():
                assert file[name].dtype == np.float32
                np.testing.assert_allclose(file[name][:, 1, 1], values, rtol=1e-6)
                attributes = {"level": 0.9, "samples": 4, "calibration_factor": factor, "calibration_kind": kind}
                assert dict(file[name].attrs).items() >= attributes.items()
    with writing_reconstruction(tmp_path / "b.h5", 1, {}) as write:
        write(SliceReconstruction(image, None, None, 1))
    with h5py.File(tmp_path / "b.h5") as file:
        assert set(file) == {"reconstruction", "reconstruction_complex"}
