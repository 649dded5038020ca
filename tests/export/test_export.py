"""An exported network gives the image of the network, at every size and number of coils, without this package."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import laminar as package
from laminar.cli.outputs import check_output
from laminar.data.masks import make_mask
from laminar.data.preparation import Problem, prepare
from laminar.data.simulation import simulate_slice
from laminar.errors import ConfigError, LaminarError
from laminar.export import ROUTES, Program, compare, files, inputs_of, write
from laminar.export.files import Route
from laminar.models import RegularizerConfig, UnrolledConfig, UnrolledNetwork, save

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "onnx_consumer.py"
SHIPPED = {
    "phase_frame": True,
    "scan_embedding": True,
    "scan_prior_std": True,
    "scan_noise": True,
    "time_embedding": True,
}


def network(kind: str = "unet", **settings: Any) -> UnrolledNetwork:
    torch.manual_seed(0)
    regularizer = RegularizerConfig(kind=kind, channels=[4, 6], depth=2)
    few = {"n_cascades": 2, "cg_iterations": 2, "source_iterations": 2}
    made = UnrolledNetwork(config=UnrolledConfig(regularizer=regularizer, **(few | settings)))
    for name, parameter in made.named_parameters():
        if name.startswith("regularizers.") or name.endswith("scan_gains"):
            torch.nn.init.normal_(parameter, std=0.03)
    return made.eval()


def problem(
    shape: tuple[int, int], coils: int, kind: str = "equispaced", axis: int = -1, noise: float = 0.01
) -> Problem:
    scan = simulate_slice("brain", shape, coils, noise, torch.Generator().manual_seed(1)).scan
    return prepare(scan.undersample(make_mask(kind, shape, 3, 12, 0, axis)))


@pytest.mark.parametrize("fourier", ["fast", "matrices"])
@pytest.mark.parametrize("given", [((48, 65), 3), ((49, 64), 4, "equispaced", -2), ((48, 48), 4, "poisson")])
@pytest.mark.parametrize(
    "settings",
    [
        SHIPPED,
        {"see_source": True, "shared": True},
        {"data_step": "gradient", "coefficients": "free", "source": "zero-filled", "kind": "cnn"},
        {"data_step": "admm", "kind": "ista", "time_embedding": False},
    ],
)
def test_a_program_is_its_network(settings: dict[str, Any], given: Any, fourier: Any) -> None:
    made = network(**settings)
    assert compare(Program(made, fourier), fourier, made, problem(*given)) < 1e-4


def test_the_solves_stop_where_those_of_the_network_stop() -> None:
    made = network(**SHIPPED, cg_iterations=30, source_iterations=30, cg_tolerance=0.02)
    for given in (((48, 65), 3), ((48, 48), 4, "poisson")):
        for noise in (0.01, 0.001):
            assert compare(Program(made), "fast", made, problem(*given, noise=noise)) < 5e-3


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "small"
    save(network(n_cascades=1, cg_iterations=1, source_iterations=1, **SHIPPED), folder, {"trained_on": "nothing"})
    return folder


@pytest.mark.parametrize("route", ["pt2", "onnx"])
def test_export_writes_what_runs_elsewhere(
    route: str, model: Path, tmp_path: Path, laminar: Callable[..., tuple[int, str, str]]
) -> None:
    out = tmp_path / f"network{ROUTES[route].ending}"
    code, said, err = laminar("export", model, "--to", route, "--out", out)
    assert code == 0, err
    assert "its image differs from the network's by" in said
    check_output(out, [], overwrite=False)  # it says who wrote it
    loaded, run = package.load(model), ROUTES[route].open(out)
    for given in (((128, 33), 2), ((50, 71), 7, "poisson")):
        assert compare(run, ROUTES[route].fourier, loaded, problem(*given)) < 1e-4
    if route == "onnx":
        _consumed(out, loaded, tmp_path)


def _consumed(program: Path, loaded: UnrolledNetwork, folder: Path) -> None:
    assert "laminar" not in EXAMPLE.read_text()
    assert len(EXAMPLE.read_text().splitlines()) <= 50
    one = problem((48, 64), 4)
    coils, scale = one.encoding.sensitivities[0].numpy(), float(one.scale[0])
    told = {"kspace": one.y[0].numpy() * scale, "maps": coils, "noise": float(one.noise_level[0]) * scale}
    np.savez(folder / "scan.npz", **told)
    line = [sys.executable, EXAMPLE, program, folder / "scan.npz", folder / "image.npy"]
    subprocess.run(line, check=True, cwd=folder)
    expected = scale * loaded(one.y, one.operator, one.noise_level)[0].detach().numpy()
    found = np.load(folder / "image.npy", allow_pickle=False)
    assert np.linalg.norm(found - expected) < 0.05 * np.linalg.norm(expected)  # its scale is found more simply


def test_what_differs_is_not_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = network()
    wrong = Route(".pt2", "fast", lambda program, path: None, lambda path: lambda *told: 1.1 * Program(made)(*told))
    monkeypatch.setattr(files, "exported", lambda *told: None)
    monkeypatch.setitem(ROUTES, "pt2", wrong)
    with pytest.raises(LaminarError, match="nothing is written"):
        write(made, "pt2", tmp_path / "a.pt2", problem((48, 48), 3), problem((48, 48), 3))
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_refused(laminar: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the solver heun"):
        Program(network(solver="heun", shared=True))
    with pytest.raises(ConfigError, match="multi-coil Cartesian"):
        inputs_of(Problem(torch.zeros(1), torch.nn.Identity(), torch.zeros(1), torch.ones(1)), "fast")  # type: ignore[arg-type]
    code, _, err = laminar("export", "default", "--to", "onnx", "--out", tmp_path / "a.pt2")
    assert (code, err) == (2, "laminar: error: --to onnx writes a file that ends in .onnx; got a.pt2\n")
    code, _, err = laminar("export", "prior", "--out", tmp_path / "a.pt2")
    assert code == 2
    assert err.startswith("laminar: error: ")
