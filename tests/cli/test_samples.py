"""`laminar reconstruct` with samplers: samples, intervals, calibration, and what is refused."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from laminar.data.formats import write_fastmri
from laminar.data.simulation import simulate_slice
from laminar.figures import uncertainty_figure
from laminar.models import Prior, RegularizerConfig, UnrolledConfig, UnrolledNetwork, save
from laminar.uncertainty import Spread

Run = Callable[..., tuple[int, str, str]]
UNDERSAMPLED = ("--acceleration", 3, "--calibration-lines", 8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fully sampled scan, a sampling network and a prior, both with random weights."""
    folder = tmp_path_factory.mktemp("samples")
    scan = simulate_slice("brain", (48, 40), 3, 0.01, torch.Generator().manual_seed(0)).scan
    write_fastmri(folder / "scan.h5", scan)
    torch.manual_seed(0)
    regularizer = RegularizerConfig(channels=[4, 6])
    config = UnrolledConfig(n_cascades=2, shared=True, source_noise=0.2, see_source=True, regularizer=regularizer)
    save(UnrolledNetwork(config=config), folder / "sampler")
    save(Prior(channels=[4, 6]), folder / "prior")
    return folder


def test_samples_with_a_calibrated_interval(folder: Path, tmp_path: Path, laminar: Run) -> None:
    """Calibrate, reconstruct with it and without: the half widths differ by the factor, all else by nothing."""
    model, calibration = ("--model", folder / "sampler"), tmp_path / "u.json"
    scale = ("--kind", "scale", "--slices", 3, "--samples", 3, "--acceleration", 3, "--out", calibration)
    assert laminar("calibrate", *model, "--data", folder / "scan.h5", *scale, "--slices", 2)[0] == 2  # it has one slice
    assert laminar("calibrate", *model, *scale)[0] == 0
    images = {}
    for name, options in {"plain": (), "calibrated": ("--calibration", calibration)}.items():
        drawn = ("--samples", 3, *options, *UNDERSAMPLED)
        code, text, error = laminar("reconstruct", folder / "scan.h5", *model, *drawn, "--out", tmp_path / name)
        assert (code, error) == (0, "")
        assert "scan-uncertainty.png" in text.replace("NAME", "scan")
        assert (tmp_path / name / "scan-uncertainty.png").exists()
        with h5py.File(tmp_path / name / "scan.h5") as file:
            images[name] = {key: file[key][()] for key in file}
            attributes = dict(file["interval_upper"].attrs)
    assert attributes["samples"] == 3
    assert attributes["level"] == 0.9
    plain, calibrated = images["plain"], images["calibrated"]
    assert (plain["interval_lower"] <= plain["reconstruction"]).all()
    assert (plain["reconstruction"] <= plain["interval_upper"]).all()
    assert np.array_equal(plain["reconstruction"], calibrated["reconstruction"])
    assert np.array_equal(plain["uncertainty_std"], calibrated["uncertainty_std"])
    inside = plain["interval_lower"] > 0
    wide = {key: (image["interval_upper"] - image["interval_lower"])[inside] for key, image in images.items()}
    both = (calibrated["interval_lower"] > 0)[inside]
    assert both.any()
    factor = attributes["calibration_factor"]
    np.testing.assert_allclose(wide["calibrated"][both], factor * wide["plain"][both], rtol=1e-3)


def test_the_pictures_show_what_is_in_memory(
    folder: Path, tmp_path: Path, laminar: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is not opened again, and the figure shows the mean that is written and that calibration is about."""
    opened, shown = [], []

    class Watched(h5py.File):  # type: ignore[misc]
        def __init__(self, file: Path | BytesIO, mode: str = "r") -> None:
            opened.append(file)
            super().__init__(file, mode)

    def watched(spread: Spread, *rest: Any) -> None:
        shown.append(spread)
        uncertainty_figure(spread, *rest)

    options = ("--model", folder / "sampler", "--samples", 2, *UNDERSAMPLED, "--out", tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(h5py, "File", Watched)
        patched.setattr("laminar.figures.uncertainty_figure", watched)
        assert laminar("reconstruct", folder / "scan.h5", *options)[0] == 0
    assert not [file for file in opened if isinstance(file, Path) and file.parent == tmp_path]
    with h5py.File(tmp_path / "scan.h5") as file:
        assert np.array_equal(file["reconstruction"], shown[0].mean)


def test_a_diffusion_sampler_by_name(folder: Path, tmp_path: Path, laminar: Run) -> None:
    """The budget, the settings and the seed arrive: equal seeds give equal files."""
    options = ("--method", "dds", "--prior", folder / "prior", "--nfe", 4, "--set", "weight=0.05", *UNDERSAMPLED)
    for out, seed in {"first": 1, "again": 1, "other": 2}.items():
        done = laminar("reconstruct", folder / "scan.h5", *options, "--sample-seed", seed, "--out", tmp_path / out)
        assert done[0] == 0
    first, again, other = ((tmp_path / out / "scan.h5").read_bytes() for out in ("first", "again", "other"))
    assert first == again
    assert first != other
    code, text, _ = laminar(
        "audit", "dds", "--prior", folder / "prior", "--nfe", 4, "--slices", 1, "--json-only", "--out", tmp_path / "a"
    )
    assert code == 0
    assert "4 network evaluations" in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--method", "dds", "--samples", 1), "at least 2"),
        (("--method", "cg-sense", "--samples", 4), "draws no samples"),
        (("--method", "cg-sense", "--nfe", 4), "nfe 4 does nothing with method 'cg-sense'"),
        (("--method", "dds", "--set", "weigth=1"), "did you mean 'weight'"),
        (("--method", "dds", "--set", "weight=much"), "--set wants KEY=NUMBER"),
        (("--method", "dds", "--nfe", 0), "nfe must be at least 1; got 0"),
        (("--method", "dds", "--model", "default"), "does nothing with method 'dds'"),
        (("--method", "dds", "--set", "iterations=2.5"), "iterations of method 'dds' must be a whole number; got 2.5"),
        (("--method", "dds", "--set", "weight=-1"), "weight of method 'dds' must be finite and not negative; got -1"),
        (("--method", "cg-sense", "--set", "weight=nan"), "must be finite"),
        (("--method", "flower", "--set", "draw=1"), "true or false"),
        (("--method", "dds", "--set", "start_level=0.001"), "start_level must be above 0.002; got 0.001"),
        (("--method", "dds", "--sample-seed", -1), "--sample-seed is a whole number"),
        (("--method", "cg-sense", "--sample-seed", 1), "--sample-seed is a whole number for a method that draws"),
        (("--method", "dds", "--samples", 2, "--level", 0), "between 0 and 1; got 0"),
        (("--method", "dds", "--samples", 2, "--level", 2), "between 0 and 1; got 2"),
        (("--level", 0.8), "--level does nothing without --samples"),
        (("--method", "dds", "--samples", 2, "--trajectory"), "with --samples there are many"),
    ],
)
def test_what_does_not_fit_is_one_line(
    options: tuple[str | int, ...], said: str, folder: Path, tmp_path: Path, laminar: Run
) -> None:
    prior = ("--prior", folder / "prior") if options[1] in ("dds", "flower") else ()
    code, _, error = laminar("reconstruct", folder / "scan.h5", *options, *prior, "--out", tmp_path / "out")
    assert code == 2
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out" / "scan.h5").exists()
