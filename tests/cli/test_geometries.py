"""Other geometries from the command line: simulate, look, reconstruct, train, resume, audit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from laminar.viewer.volumes import load

Run = Callable[..., tuple[int, str, str]]
TINY = (
    *("--data.batch_size", 2, "--data.validation_batches", 1, "--data.workers", 0, "--validate_every", 2, "--steps", 2),
    *("--model.regularizer.channels", "[4,4]", "--model.n_cascades", 2, "--data.simulation.matrices", "[[32,32]]"),
    *("--accelerator", "cpu"),
)


def simulated(laminar: Run, out: Path, geometry: str, *settings: str) -> Path:
    told = [word for setting in settings for word in ("--geometry-set", setting)]
    sizes = ("--volumes", 1, "--slices", 1, "--matrix", "32,32", "--coils", 3)
    code, said, error = laminar("simulate", "--geometry", geometry, *told, *sizes, "--anatomy", "brain", "--out", out)
    assert code == 0, error
    assert geometry in said
    return next(out.glob(f"{geometry}_*.h5"))


def test_tomography_end_to_end(tmp_path: Path, laminar: Run) -> None:
    """Simulated, trained, resumed, reconstructed and audited by the commands alone; the checkpoint says for what."""
    scan = simulated(laminar, tmp_path / "scans", "ct", "views=40")
    _, said, _ = laminar("info", scan)
    assert "geometry: tomography" in said
    code, said, error = laminar("reconstruct", scan, "--method", "filtered-back-projection", "--out", tmp_path / "fbp")
    assert code == 0, error
    assert "PSNR" in said, "against the reference in the file"
    _, scored, error = laminar("evaluate", tmp_path / "fbp", tmp_path / "scans")
    assert scan.stem in scored, error
    code, _, error = laminar("reconstruct", scan, "--out", tmp_path / "none")
    assert (code, "is tomography: name a --method, such as filtered-back" in error) == (2, True), error
    run = tmp_path / "run"
    code, said, error = laminar("train", "--out", run, "--geometry", "ct", *TINY, "--data.workers", 1)
    assert code == 0, error
    assert "validation: PSNR" in said
    assert json.loads((run / "best" / "model.json").read_text())["config"]["geometry"] == "tomography"
    code, said, error = laminar("train", "--out", run, "--resume", "--steps", 4)
    assert "step 4 of 4" in said, error
    code, said, error = laminar("reconstruct", scan, "--model", run / "best", "--out", tmp_path / "net")
    assert code == 0, error
    assert "trained for" not in said
    with h5py.File(next((tmp_path / "net").glob("*.h5"))) as file:
        assert file["reconstruction"].shape == (1, 32, 32)
        assert file.attrs["geometry"] == "tomography"
    code, said, error = laminar(
        *("audit", run / "best", "--geometry", "ct", "--geometry-set", "views=20", "--slices", 1),
        *("--json-only", "--out", tmp_path / "audit"),
    )
    assert code == 0, error
    record = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert "views=20" in record["data"]["source"]
    deblurring = simulated(laminar, tmp_path / "scans", "deblurring")
    _, said, _ = laminar("reconstruct", deblurring, "--model", run / "best", "--out", tmp_path / "other")
    assert "best was trained for tomography scans; this one is linear" in said


def test_a_cine_end_to_end(tmp_path: Path, laminar: Run) -> None:
    scan = simulated(laminar, tmp_path / "scans", "cine", "frames=4", "acceleration=2")
    run = tmp_path / "run"
    settings = ("--data.geometry_settings", '{"frames": 4, "acceleration": 2}', "--data.simulation.coils", "[3, 3]")
    code, _, error = laminar("train", "--out", run, "--geometry", "cine", *settings, *TINY)
    assert code == 0, error
    assert json.loads((run / "best" / "model.json").read_text())["config"]["regularizer"]["neighbors"] == 1
    pytest.importorskip("PIL")
    for told in (("--model", run / "best"), ("--method", "low-rank")):
        code, _, error = laminar(
            "reconstruct", scan, *told, "--format", "gif", "--out", tmp_path / "images", "--overwrite"
        )
        assert code == 0, error
    with h5py.File(next((tmp_path / "images").glob("*.h5"))) as file:
        assert file["reconstruction"].shape == (1, 4, 32, 32)
        assert file["reconstruction"].attrs["axes"] == "slice,frame,y,x"
    images = next((tmp_path / "images").glob("*.h5"))
    assert len(load(images).image) == 4, "the viewer shows every frame"
    assert next((tmp_path / "images").glob("*.gif")).read_bytes().startswith(b"GIF89a")
    code, _, error = laminar("reconstruct", scan, "--out", tmp_path / "images", "--overwrite")
    assert (code, "and this is cine: name a --method, such as low-rank" in error) == (2, True), error
    code, _, error = laminar("reconstruct", scan, "--model", "default", "--out", tmp_path / "images", "--overwrite")
    assert code == 2
    assert "takes planar images: it has no neighbors; got images (4, 32, 32)" in error


def test_a_radial_cine_end_to_end(tmp_path: Path, laminar: Run) -> None:
    pytest.importorskip("finufft")
    scan = simulated(laminar, tmp_path / "scans", "radial-cine", "frames=3", "spokes=12")
    told = ("--data.geometry_settings", '{"frames": 3, "spokes": 12}')
    run = tmp_path / "run"
    code, said, error = laminar("train", "--out", run, "--geometry", "radial-cine", *told, *TINY, "--data.workers", 0)
    assert code == 0, error
    config = json.loads((run / "best" / "model.json").read_text())["config"]
    assert (config["geometry"], config["source_motion_std"] > 0) == ("noncartesian-cine", True)
    code, _, error = laminar("reconstruct", scan, "--model", run / "best", "--no-figures", "--out", tmp_path / "images")
    assert code == 0, error
    image = tmp_path / "images" / scan.name
    assert load(image).names == [f"frame {n}" for n in range(3)]
    code, said, error = laminar("evaluate", image, scan)
    assert code == 0, error
    assert "0.0000" not in said


def test_slices_are_solved_together(tmp_path: Path, laminar: Run) -> None:
    sizes = ("--volumes", 1, "--slices", 3, "--matrix", "32,32", "--coils", 3)
    laminar("simulate", *sizes, "--anatomy", "brain", "--out", tmp_path / "scans")
    options = ("--method", "cg-sense", "--acceleration", 2, "--calibration-lines", 8, "--out", tmp_path / "images")
    code, said, error = laminar("reconstruct", tmp_path / "scans", "--together", "slice", *options)
    assert code == 0, error
    assert "PSNR" in said
    with h5py.File(next((tmp_path / "images").glob("*.h5"))) as file:
        assert file["reconstruction"].shape == (1, 3, 32, 32)
    _, _, error = laminar("reconstruct", tmp_path / "scans", "--together", "phase", *options, "--overwrite")
    assert "no axis 'phase' among its images; it has slice" in error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("simulate", "--geometry", "ct", "--geometry-set", "views=x", "--out", "x"),
            "wants KEY=NUMBER, such as",
        ),
        (("simulate", "--geometry-set", "views=3", "--out", "x"), "--geometry-set does nothing for cartesian"),
        (("train", "--out", "x", "--geometry", "ct", "--data.kind", "files"), "data.geometry ct is simulated"),
        (("train", "--out", "x", "--geometry", "ct", "--preset", "e2e-varnet"), "needs an unrolled network"),
        (
            ("train", "--out", "x", "--geometry", "pet", "--data.geometry_settings", '{"vews": 1}'),
            "no setting 'vews'; did you mean 'views'?",
        ),
        (("reconstruct", "a.npy", "--matrix", "32,32", "--out", "x"), "--matrix does nothing without --points"),
        (("reconstruct", "a.npy", "--points", "p.npy", "--out", "x"), "--points needs --matrix Y,X"),
        (("audit", "default", "--geometry", "ct", "--data", "x"), "--geometry is of simulated images"),
    ],
)
def test_wrong_words_are_one_line(
    words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, laminar: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.npy").write_bytes(b"")
    code, _, error = laminar(*words)
    assert code == 2
    assert said in error
    assert not (tmp_path / "x").exists()
