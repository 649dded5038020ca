"""The audit against subjects whose numbers are known, and against the fastmri package's own VarNet."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from laminar.audit import Audit, Case, ScenarioConfig, audit, make_cases
from laminar.audit.measure import PERTURBATION, audited_depths
from laminar.data.preparation import Problem
from laminar.data.simulation.volume import simulate_file
from laminar.errors import CheckpointError, ConfigError, LaminarError
from laminar.flow import Trajectory
from laminar.methods import NetworkMethod, as_method, open_model
from laminar.methods.foreign import CallableMethod
from laminar.models import RegularizerConfig, UnrolledConfig, UnrolledNetwork, VarNet
from laminar.operators import Encoding

DOCUMENT = Path(__file__).parents[2] / "docs" / "audit.md"
SHAPE, SIGMA, LEFT = (16, 12), 0.02, 0.05


def known_case(seed: int = 0) -> tuple[Case, Tensor]:
    """A noiseless double-precision problem with a positive image, and a positive source."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, dtype=torch.float64, generator=generator)

    image, source = (draw(1, *SHAPE) + 0.1).to(torch.complex128), (draw(1, *SHAPE) + 0.1).to(torch.complex128)
    maps = torch.polar(draw(1, 3, *SHAPE), draw(1, 3, *SHAPE))
    maps = maps / maps.abs().square().sum(1, keepdim=True).sqrt()
    mask = torch.zeros(1, *SHAPE, dtype=torch.bool)
    mask[..., ::2] = True
    level, scale = torch.tensor([SIGMA], dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    problem = Problem(torch.zeros_like(maps), Encoding(mask, maps), level, scale)
    kspace = problem.operator(image)
    return Case(replace(problem, y=kspace), image, "known"), source


class Relaxation:
    """`x <- (1 - lam) x + lam m` toward a fixed m on the line from the source to the image: everything is known."""

    name, description = "relaxation", "an exact linear subject"

    def __init__(self, case: Case, source: Tensor, steps: Sequence[float], widths: Sequence[float]) -> None:
        self.source, self.goal, self.steps = source, case.image + LEFT * (source - case.image), steps
        ratios = [SIGMA**2 / width**2 for width in widths]
        self.coefficients = {"steps": steps, "data": ratios, "data_step": "proximal", "prior_std": widths}

    def __call__(
        self, problem: Problem, *, edit: Callable[[int, Tensor], Tensor] | None = None, n_cascades: int | None = None
    ) -> Trajectory:
        edit = edit or (lambda k, x: x)
        states = [edit(0, self.source)]
        for k in range(n_cascades or len(self.steps)):
            step = self.steps[min(k, len(self.steps) - 1)]
            states.append(edit(k + 1, (1 - step) * states[-1] + step * self.goal))
        return Trajectory(states, [self.goal] * (len(states) - 1), None, len(states) - 1)


@pytest.mark.parametrize("steps", [(0.25, 0.5, 1.0), (0.2, 0.5, 0.4, 0.5)])
def test_an_exact_linear_subject_gives_the_numbers_that_it_is_made_of(steps: tuple[float, ...]) -> None:
    case, source = known_case()
    widths = [0.3 * 0.8**k for k in range(len(steps))]
    record = audit(Relaxation(case, source, steps, widths), [case]).record
    remaining = np.cumprod([1, *(1 - np.array(steps))])
    times = LEFT + (1 - LEFT) * remaining
    rows = record["cascades"]

    def column(name: str) -> np.ndarray:
        return np.array([row[name] for row in rows], dtype=float)

    gains = [math.prod(1 - s for s in steps[k:]) for k in range(len(steps))]
    np.testing.assert_allclose(column("implied_time"), times[1:], atol=1e-12)
    np.testing.assert_allclose(column("implied_step"), 1 - times[1:] / times[:-1], atol=1e-11)
    np.testing.assert_allclose(column("line_deviation"), 0, atol=1e-12)
    np.testing.assert_allclose(column("perturbation_gain"), gains, atol=1e-11)
    np.testing.assert_allclose(column("smooth_perturbation_gain"), gains, atol=1e-11)
    np.testing.assert_allclose(column("frozen_gain"), gains, atol=1e-12)
    assert record["straightness"]["mean"] == pytest.approx(1, abs=1e-12)

    difference, peak = (source - case.image).abs(), float(case.image.abs().max())
    psnr = -20 * np.log10(times * float(difference.square().mean().sqrt()) / peak)
    np.testing.assert_allclose([record["source"]["psnr"], *column("psnr")], psnr, atol=1e-9)
    operator, y = case.problem.operator, case.problem.y
    residual = times * float(torch.linalg.vector_norm(operator(source - case.image)) / torch.linalg.vector_norm(y))
    np.testing.assert_allclose(column("data_residual"), residual[1:], rtol=1e-11)
    samples = float(case.problem.encoding.mask.sum()) * 3
    over_noise = residual[1:] * float(torch.linalg.vector_norm(y)) / (SIGMA * samples**0.5)
    np.testing.assert_allclose(column("data_residual_noise"), over_noise, rtol=1e-11)
    assert record["reference"]["data_residual"] == 0
    assert record["monotone"]
    assert record["monotone_slices"] == 1

    found = record["coefficients"]
    np.testing.assert_allclose(found["times"], remaining, atol=1e-12)
    assert record["product_constraint"] == pytest.approx(remaining[-1], abs=1e-12)
    assert record["implied_noise_level"] == pytest.approx(SIGMA, rel=1e-12)
    assert found["is_discretization"] is (steps[-1] == 1)
    assert found["last_step_error"] == pytest.approx(1 - steps[-1], abs=1e-12)
    assert {row["change"] for row in record["noise"]} == {0.0}

    assert [row["n_cascades"] for row in record["depths"]] == audited_depths(len(steps))
    for row in record["depths"]:
        n = row["n_cascades"]
        left = remaining[n] if n <= len(steps) else remaining[-1] * (1 - steps[-1]) ** (n - len(steps))
        expected = psnr[0] - 20 * np.log10(LEFT + (1 - LEFT) * left)
        assert row["psnr"] == pytest.approx(expected, abs=1e-9)
    answers = {finding["id"]: finding["holds"] for finding in record["findings"]}
    assert answers["discretization"] is (steps[-1] == 1)
    assert answers["monotone"]
    assert answers["perturbation"]


def test_a_trajectory_that_gets_worse_is_seen() -> None:
    case, source = known_case()
    difference = source - case.image
    record = audit(lambda problem: [case.image + t * difference for t in (1, 0.5, 0.7, 0.1)], [case]).record
    assert record["monotone"] is False
    assert record["monotone_slices"] == 0
    drop = 20 * math.log10(0.7 / 0.5)
    assert record["slices"][0]["largest_drop"] == pytest.approx(drop, abs=1e-9)
    assert record["worst"]["largest_drop"] == ["known"]
    said = {finding["id"]: finding for finding in record["findings"]}
    assert said["monotone"]["holds"] is False
    assert f"cascade 2, by {drop:.2f} dB" in said["monotone"]["text"]
    assert said["times"]["holds"] is False
    assert record["cascades"][1]["implied_step"] == pytest.approx(1 - 0.7 / 0.5)


@pytest.mark.parametrize("broken", range(4))
def test_a_slice_that_diverges_is_the_worst_wherever_it_stands(broken: int) -> None:
    cases = [replace(known_case(seed)[0], name=f"slice {seed}") for seed in range(4)]

    def subject(problem: Problem) -> list[Tensor]:
        case = next(
            case for case in cases if torch.equal(case.problem.encoding.sensitivities, problem.encoding.sensitivities)
        )
        source = known_case(cases.index(case))[1]
        return [source, source * (math.nan if case is cases[broken] else 0.9)]

    record = audit(subject, cases).record
    assert record["worst"]["lowest_psnr"][0] == f"slice {broken}"
    json.dumps(record["worst"], allow_nan=False)


def test_without_noise_nothing_is_said_of_the_noise_level() -> None:
    case, source = known_case()
    quiet = replace(case, problem=replace(case.problem, noise_level=torch.zeros(1, dtype=torch.float64)))
    record = audit(Relaxation(case, source, (0.5, 1.0), (0.3, 0.2)), [quiet]).record
    assert record["noise"] is None
    assert "zero" in next(finding["text"] for finding in record["findings"] if finding["id"] == "noise")


def test_what_is_not_offered_is_null_and_never_guessed() -> None:
    case, source = known_case()

    def images_alone(problem: Problem, **anything: Any) -> list[Tensor]:
        assert not anything, "keywords that are not named are not offered"
        return [source, 0.5 * (source + case.image), case.image + 0.1]

    record = audit(images_alone, [case]).record
    assert not any(record["subject"]["offers"].values())
    for name in ("times", "product_constraint", "implied_noise_level", "coefficients", "depths"):
        assert record[name] is None
    for row in record["cascades"]:
        missing = ("perturbation_gain", "smooth_perturbation_gain", "frozen_gain", "own_endpoint_psnr")
        assert all(row[name] is None for name in missing)
        assert row["psnr"] is not None
    assert {f["id"] for f in record["findings"] if "Not offered" in f["text"]} == {
        "discretization",
        "perturbation",
        "depth",
    }
    for name, value in (("sha256", None), ("parameters", None), ("n_cascades", 2)):
        assert record["subject"][name] == value


def test_the_papers_form_implies_its_noise_level() -> None:
    case, source = known_case()
    increments, sigma = [0.5, 0.3, 0.2], 0.7

    def subject(problem: Problem) -> list[Tensor]:
        return [source, case.image + 0.1, case.image + 0.05, case.image + 0.01]

    data = [step / sigma**2 for step in increments]
    subject.coefficients = SimpleNamespace(steps=increments, data=data, data_step="paper")  # type: ignore[attr-defined]
    record = audit(subject, [case]).record
    assert record["implied_noise_level"] == pytest.approx(sigma)
    assert record["coefficients"]["implied_noise_reading"] == "paper"
    np.testing.assert_allclose(record["coefficients"]["relative_steps"], [0.5, 0.6, 1.0])
    np.testing.assert_allclose([row["frozen_gain"] for row in record["cascades"]], 0, atol=1e-12)
    assert record["product_constraint"] == pytest.approx(0, abs=1e-12)


def unrolled(**settings: Any) -> UnrolledNetwork:
    torch.manual_seed(0)
    config = UnrolledConfig(n_cascades=3, regularizer=RegularizerConfig(channels=[4, 6]), **settings)
    network = UnrolledNetwork(config=config)
    for parameter in network.regularizers.parameters():
        torch.nn.init.normal_(parameter, std=0.03)
    return network


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Case], dict[str, Any]]:
    """A simulated file of two slices, its cases and their description."""
    path = tmp_path_factory.mktemp("scans") / "small.h5"
    simulate_file(path, "brain", (48, 40), 3, 2, 0.01, 3)
    cases, data = make_cases(ScenarioConfig(data=(path,), slices=2, acceleration=2.0, calibration_lines=10))
    return path, cases, data


Small = tuple[Path, list[Case], dict[str, Any]]


def test_a_network_of_ours_is_seen_as_it_reconstructs(small: Small) -> None:
    _, cases, data = small
    network = unrolled()
    result = audit(network, cases, data)
    record, problem = result.record, cases[1].problem
    with torch.no_grad():
        image = network(problem.y, problem.operator, problem.noise_level)
    torch.testing.assert_close(result.slices[1].states[-1], image[0].abs(), rtol=0, atol=0)
    assert all(record["subject"]["offers"].values())
    np.testing.assert_allclose(record["times"], [1, 2 / 3, 1 / 3, 0], atol=1e-7)
    assert record["coefficients"]["is_discretization"]
    told = torch.cat([case.problem.noise_level for case in cases])
    floor = network.config.noise_floor
    expected = (told.square() + floor**2).mean().sqrt()
    assert record["implied_noise_level"] == pytest.approx(float(expected), rel=1e-5)
    by_depth = {row["n_cascades"]: row["psnr"] for row in record["depths"]}
    np.testing.assert_allclose([by_depth[k] for k in (1, 2, 3)], [c["psnr"] for c in record["cascades"]], rtol=1e-6)
    assert record["depths"][2]["change"] == 0


def test_free_coefficients_are_recovered(small: Small) -> None:
    network = unrolled(data_step="gradient", coefficients="free", source="zero-filled")
    with torch.no_grad():
        network.coefficients.steps.copy_(torch.tensor([0.5, 0.4, 0.9]))
        network.coefficients.data.copy_(torch.tensor([0.2, 0.3, 0.4]))
    record = audit(network, small[1][:1]).record
    assert record["product_constraint"] == pytest.approx(0.5 * 0.6 * 0.1, rel=1e-5)
    text = {finding["id"]: finding["text"] for finding in record["findings"]}["discretization"]
    assert "no discretization" in text
    assert "t₀ = 0.03" in text


def varnet() -> Any:
    models = pytest.importorskip("fastmri.models", reason="the package whose network is audited")
    torch.manual_seed(3)
    network = models.VarNet(num_cascades=3, sens_chans=3, sens_pools=2, chans=4, pools=1).eval()
    for number, cascade in enumerate(network.cascades):
        cascade.dc_weight.data.fill_(0.5 + 0.2 * number)
    return network


def test_the_fastmri_varnet_gives_the_image_that_it_gives_itself(small: Small) -> None:
    network, problem = varnet(), small[1][0].problem
    with torch.no_grad():
        rss = network(torch.view_as_real(problem.y), problem.encoding.mask[:, None, :1, :, None])
        method = as_method(network)
        assert isinstance(method, NetworkMethod)
        assert isinstance(method.network, VarNet)
        torch.testing.assert_close(method.network(problem.y, problem.encoding.mask), rss, rtol=1e-5, atol=1e-5)
        assert len(method(problem).states) == 4


@torch.no_grad()
def test_the_fastmri_varnet_offers_edits_and_depths(small: Small) -> None:
    subject, problem = as_method(varnet()), small[1][0].problem
    whole = subject(problem)
    bump = torch.zeros_like(whole.image)
    bump[..., 20:24, 18:22] = 0.1
    edited = subject(problem, edit=lambda k, x: x + bump if k == 3 else x)
    inside = problem.encoding.sensitivities.abs().sum(1) > 0
    torch.testing.assert_close(edited.states[-1] - whole.states[-1], bump * inside, atol=1e-6, rtol=1e-5)
    untouched = subject(problem, edit=lambda k, x: x)
    torch.testing.assert_close(untouched.image, whole.image, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(subject(problem, n_cascades=2).states[-1], whole.states[2])
    assert len(subject(problem, n_cascades=5).states) == 6
    rows = replace(problem, operator=Encoding(problem.encoding.mask.clone(), problem.encoding.sensitivities))
    rows.encoding.mask[:, 0] = False
    with pytest.raises(ConfigError, match="mask of lines"):
        subject(rows)


def test_a_state_dict_tells_its_sizes(small: Small, tmp_path: Path) -> None:
    """The package's own image, whatever the weights were part of."""
    network, problem = varnet(), small[1][0].problem
    with torch.no_grad():
        published = network(torch.view_as_real(problem.y), problem.encoding.mask[:, None, :1, :, None])
        combined = as_method(network)(problem).states[-1]
    assert float((combined.abs() - published).norm() / published.norm()) > 1e-2  # the sensitivities are others
    for prefix in ("", "module.", "model.varnet.", "varnet."):
        state = {f"{prefix}{key}": value for key, value in network.state_dict().items()} | {"loss.w": torch.ones(1)}
        save_file(state, tmp_path / "weights.safetensors")
        subject = open_model(str(tmp_path / "weights.safetensors"))
        assert subject.parameters == sum(p.numel() for p in network.parameters())
        assert subject.fingerprint is not None
        with torch.no_grad():
            found = subject(problem)
        assert float((found.image.abs() - published).norm() / published.norm()) < 1e-5
        torch.testing.assert_close(found.states[-1], combined, rtol=0, atol=0)
    save_file({key: value.half() for key, value in state.items()}, tmp_path / "half.safetensors")
    half = open_model(str(tmp_path / "half.safetensors"))(problem).image.detach()
    assert float((half.abs() - published).norm() / published.norm()) < 1e-2

    del state["varnet.cascades.1.dc_weight"]
    save_file(state, tmp_path / "torn.safetensors")
    with pytest.raises(CheckpointError, match=r"cascades\.1\.dc_weight"):
        open_model(str(tmp_path / "torn.safetensors"))


def test_models_that_cannot_be_opened_say_why(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt").write_bytes(b"PK")
    (tmp_path / "broken.safetensors").write_bytes(b"no header")
    save_file({"weight": torch.ones(2)}, tmp_path / "other.safetensors")
    for model, said in (
        (tmp_path / "model.ckpt", r"pickled.*save_file\(.*'model\.safetensors'\)"),
        (tmp_path / "broken.safetensors", "weights of a fastmri VarNet as safetensors"),
        (tmp_path / "other.safetensors", "not the weights of a fastmri VarNet"),
        ("no_such_package:thing", "cannot be imported"),
        ("laminar.audit:nothing", "cannot be imported"),
        ("math:pi", "callable of a Problem; got float"),
        ("absent", "no model 'absent'"),
    ):
        with pytest.raises(LaminarError, match=said):
            open_model(str(model))


def test_a_name_stands_for_a_subject_or_for_what_makes_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code = "def subject(problem):\n    return []\n\ndef make():\n    return subject\n"
    (tmp_path / "named_subject_of_a_test.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    first, second = (open_model(f"named_subject_of_a_test:{name}") for name in ("subject", "make"))
    assert isinstance(first, CallableMethod)
    assert isinstance(second, CallableMethod)
    assert first.function is second.function
    assert (first.name, first.kind) == ("subject", "callable")


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (lambda case: 3, "sequence of images; got int"),
        (lambda case: [case.image], "at least two images"),
        (lambda case: [case.image, case.image[..., 1:]], "got 2 of"),
    ],
)
def test_what_is_no_trajectory_is_refused(returned: Callable[[Case], Any], said: str) -> None:
    case, _ = known_case()
    with pytest.raises(ConfigError, match=said):
        audit(lambda problem: returned(case), [case])


@pytest.mark.parametrize("wrong", [{"steps": [1.0], "data": [0.1]}, {"prior_std": [0.3]}])
def test_coefficients_of_another_depth_are_refused(wrong: dict[str, Any]) -> None:
    case, source = known_case()
    subject = Relaxation(case, source, (0.5, 0.5, 1.0), (0.3, 0.2, 0.1))
    subject.coefficients = {k: v for k, v in subject.coefficients.items() if k != "prior_std"} | wrong
    with pytest.raises(ConfigError, match="its trajectory has 3"):
        audit(subject, [case])


def test_broken_promises_are_refused() -> None:
    case, source = known_case()

    def deaf(problem: Problem, *, edit: Any = None) -> list[Tensor]:
        return [source, case.image + 0.1]

    with pytest.raises(ConfigError, match="must be applied to state k = 0"):
        audit(deaf, [case])
    wrong = Relaxation(case, source, [0.5, 1.0], [1.0, 1.0])
    wrong.coefficients = {"steps": [0.5, 1.0], "data": [1.0], "data_step": "proximal"}
    with pytest.raises(ConfigError, match="coefficients need steps"):
        audit(wrong, [case])


def test_the_data_are_what_was_asked_for(small: Small, tmp_path: Path) -> None:
    _, cases, data = small
    assert [case.name for case in cases] == ["small slice 0", "small slice 1"]
    assert data["simulated"] is True, "a file of laminar simulate stays simulated"
    assert data["source"] == "small (simulated)"
    assert data["n_slices"] == 2
    assert len(data["files"][0]["sha256"]) == 64
    masks = [case.problem.encoding.mask[0] for case in cases]
    assert [float(1 / mask.float().mean()) for mask in masks] == pytest.approx([2, 2], rel=0.1)
    assert not torch.equal(*masks), "every slice has the mask of a seed of its own"
    # The image explains all the samples: what is undersampled is the measurement, not the reference.
    for case in cases:
        noise = case.problem.operator(case.image) - case.problem.y
        assert torch.linalg.vector_norm(noise) < 0.3 * torch.linalg.vector_norm(case.problem.y)
    (tmp_path / "empty").mkdir()
    for wrong, said in (
        ({"slices": 0}, "at least 1 slice"),
        ({"mask": "rosette"}, "unknown mask"),
        ({"noise_std": -1.0}, "noise level"),
        ({"seed": -1}, "seed"),
        ({"data": (tmp_path / "empty",)}, "no scan in this folder"),
        ({"data": (tmp_path / "absent.h5",)}, "no such file"),
    ):
        with pytest.raises(LaminarError, match=said):
            make_cases(ScenarioConfig(**wrong))  # type: ignore[arg-type]


def test_simulated_cases_depend_on_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("laminar.audit.scenario.MATRIX", (48, 40))
    config = ScenarioConfig(slices=2, acceleration=2.0, calibration_lines=10, seed=5)
    (first, data), (again, _) = make_cases(config), make_cases(config)
    assert data["simulated"] is True
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.problem.y, other.problem.y)
        assert torch.equal(one.image, other.image)
    other, _ = make_cases(ScenarioConfig(slices=2, acceleration=2.0, calibration_lines=10, seed=6))
    assert not torch.equal(first[0].image, other[0].image)


@pytest.fixture(scope="module")
def complete(small: Small) -> Audit:
    """An audit in which nothing is missing."""
    _, cases, data = small
    return audit(unrolled(), cases, data, seed=2)


def test_same_seed_same_record(complete: Audit, small: Small) -> None:
    _, cases, data = small
    again, other = (audit(unrolled(), cases, data, seed=seed).record for seed in (2, 3))
    text = json.dumps(complete.record, allow_nan=False)
    assert text == json.dumps(again, allow_nan=False)
    assert text != json.dumps(other, allow_nan=False)
    assert complete.record["cascades"][0]["intervals"]["psnr"] is None  # two slices say nothing of a spread


def test_intervals_hold_the_mean_once_there_are_five_slices() -> None:
    cases = [known_case(seed)[0] for seed in range(5)]
    record = audit(lambda problem: [0.5 * problem.operator.adjoint(problem.y)] * 2, cases).record
    low, high = record["cascades"][0]["intervals"]["psnr"]
    assert low < record["cascades"][0]["psnr"] < high


def paths(value: Any, path: str = "") -> set[str]:
    """Every key of a record as a path: `cascades[].psnr`. Lists of plain values end where they start."""
    if isinstance(value, dict):
        return {p for key, item in value.items() for p in paths(item, f"{path}.{key}".lstrip("."))}
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return {p for item in value for p in paths(item, f"{path}[]")}
    return {path}


def test_the_document_names_exactly_the_keys_of_the_record(complete: Audit) -> None:
    named = set(re.findall(r"^\| `([^`]+)` \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE))
    found = {re.sub(r"\.intervals\..*", ".intervals", path) for path in paths(complete.record)}
    assert named == found
    keys = {"psnr", "endpoint_psnr", "ssim", "line_deviation", "data_residual", "perturbation_gain"}
    assert keys | {"implied_time", "implied_step"} <= complete.record["cascades"][0].keys()
    assert {"monotone", "product_constraint", "implied_noise_level"} <= complete.record.keys()


class _Page(HTMLParser):
    """Whether a page is well-formed, and what it refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_one_file_in_which_everything_is_escaped(complete: Audit, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="draws the pictures")
    from laminar.audit_page import page, write_page

    hostile = '<script>alert("x")</script>&'
    record = complete.record | {"subject": complete.record["subject"] | {"name": hostile, "description": hostile}}
    write_page(tmp_path / "audit.html", Audit(record, complete.slices))
    text = (tmp_path / "audit.html").read_text(encoding="utf-8")
    assert text == page(Audit(record, complete.slices))
    parser = _Page()
    parser.feed(text)
    assert parser.open == []
    assert "script" not in parser.tags
    assert parser.links
    assert all(link.startswith("data:image/png;base64,") for link in parser.links)
    assert "&lt;script&gt;" in text
    for finding in record["findings"]:
        assert finding["question"] in text
    assert "nan" not in re.sub(r'src="[^"]*"', "", text).lower().replace("finance", "")


def test_the_page_says_what_is_not_offered(complete: Audit) -> None:
    pytest.importorskip("matplotlib", reason="draws the pictures")
    from laminar.audit_page import page

    case, source = known_case()
    text = page(audit(lambda problem: [source, case.image + 0.1], [case]))
    assert text.count("Not offered by the network") >= 5
    assert "All slices of this audit are simulated" not in text
    assert PERTURBATION == 1e-3
