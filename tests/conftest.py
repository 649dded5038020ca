"""What many tests need: a tiny model, a tiny scan, the command line."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from laminar.cli.main import main
from laminar.models import RegularizerConfig, UnrolledConfig, UnrolledNetwork, save


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a two-cascade network with random weights."""
    torch.manual_seed(0)
    network = UnrolledNetwork(config=UnrolledConfig(n_cascades=2, regularizer=RegularizerConfig(channels=[4, 6])))
    for parameter in network.regularizers.parameters():
        torch.nn.init.normal_(parameter, std=0.03)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save(network, folder, {"trained_on": "nothing"})
    return folder


@pytest.fixture
def laminar(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run `laminar ARGS`: exit code, standard output, standard error."""

    def run(*args: object) -> tuple[int, str, str]:
        code = main([str(arg) for arg in args])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
