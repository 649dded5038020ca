"""What many tests need: a tiny model, a tiny scan, the command line."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch

from laminar.cli.main import main
from laminar.files import write_json
from laminar.models import RegularizerConfig, UnrolledConfig, UnrolledNetwork, save

# No test asserts a wall-clock time: the first call of an operation may be slow, and so may the machine.
hypothesis.settings.register_profile("laminar", deadline=None)
hypothesis.settings.load_profile("laminar")


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


@pytest.fixture(scope="session")
def sampling_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a two-cascade network with random weights and a noisy source."""
    torch.manual_seed(0)
    config = UnrolledConfig(n_cascades=2, source_noise=0.3, regularizer=RegularizerConfig(channels=[4, 6]))
    network = UnrolledNetwork(config=config)
    for parameter in network.regularizers.parameters():
        torch.nn.init.normal_(parameter, std=0.03)
    folder = tmp_path_factory.mktemp("models") / "sampling"
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


ERRORS: dict[str, dict[str, Any]] = {}
COMMAND = "pytest --record-errors tests/flow tests/models tests/theory tests/training"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-errors", action="store_true", help="write the worst errors to results/theory.json")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if session.config.getoption("--record-errors") and exitstatus == 0:
        write_json(session.config.rootpath / "results" / "theory.json", {"command": COMMAND, "tests": ERRORS})


@pytest.fixture(autouse=True)
def _errors_are_recorded(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """With `--record-errors`: the comparison of each test that came nearest to its tolerance."""
    if not request.config.getoption("--record-errors"):
        yield
        return
    test, compare = request.function, torch.testing.assert_close
    name = f"{request.path.relative_to(request.config.rootpath).as_posix()}::{test.__name__}"

    def recorded(actual: torch.Tensor, expected: torch.Tensor, **options: Any) -> None:
        compare(actual, expected, **options)
        if any(options.values()) and actual.numel():
            size = max(1.0, float(expected.detach().abs().max()))
            allowed = options.get("atol", 0.0) + options.get("rtol", 0.0) * expected.detach().abs()
            share = torch.nan_to_num((actual - expected).detach().abs() / allowed)
            worst, tolerance = float(share.max()), float(allowed.expand(share.shape).flatten()[share.argmax()]) / size
            known = ERRORS.setdefault(name, {"statement": _first_sentence(test), "tolerance": tolerance, "share": -1.0})
            if worst > known["share"]:
                known |= {"tolerance": tolerance, "share": worst, "error": worst * tolerance}

    monkeypatch.setattr(torch.testing, "assert_close", recorded)
    yield


def _first_sentence(test: Callable[..., None]) -> str:
    return " ".join((test.__doc__ or "").split("\n\n")[0].split())
