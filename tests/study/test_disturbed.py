"""What a test set may change: sensitivities that are a little wrong, structures that were not there."""

from dataclasses import replace

import pytest
import torch

from laminar.data.cases import Case, case_of
from laminar.data.masks import make_mask
from laminar.data.simulation import simulate_slice
from laminar.errors import ConfigError
from laminar.methods import open_method
from laminar.operators import Encoding
from laminar.scan import cartesian
from laminar.study.disturbed import perturbed, structures


@pytest.fixture(scope="module")
def case() -> Case:
    kspace = simulate_slice("brain", (64, 48), 4, 0.001, torch.Generator().manual_seed(0)).kspace
    full = cartesian(kspace[None], torch.ones(64, 48, dtype=torch.bool), noise_std=0.001)
    return case_of(full, make_mask("equispaced", (64, 48), 4.0, 8, 0))


def maps(case: Case) -> torch.Tensor:
    assert isinstance(case.problem.operator, Encoding)
    return case.problem.operator.sensitivities


def test_wrong_sensitivities_keep_their_power_and_differ_by_the_amount(case: Case) -> None:
    wrong = perturbed(case, 0.05, 0)
    power, before = (maps(each).abs().square().sum(1) for each in (wrong, case))
    torch.testing.assert_close(power, before)
    error = (maps(wrong) - maps(case)).abs().square().sum() / maps(case).abs().square().sum()
    assert 0.02 < float(error.sqrt()) < 0.08
    assert torch.equal(wrong.problem.y, case.problem.y)
    assert torch.equal(wrong.image, case.image)
    assert torch.equal(maps(perturbed(case, 0.05, 0)), maps(wrong))
    with pytest.raises(ConfigError, match="sensitivities of planar Cartesian scans"):
        perturbed(replace(case, problem=replace(case.problem, operator=2.0 * case.problem.operator)), 0.05, 0)


def test_a_method_that_solves_keeps_structures_and_one_that_folds_invents_some(case: Case) -> None:
    every = Encoding(torch.ones(1, 64, 48, dtype=torch.bool), maps(case))
    whole = replace(case, problem=replace(case.problem, y=every(case.image), operator=every))
    solved = structures(open_method("cg-sense", settings={"weight": 1e-6}), whole, 3, 0)
    assert solved == pytest.approx({"kept": 1.0, "invented": 0.0}, abs=2e-3)
    folded = structures(open_method("zero-filled"), case, 3, 0)
    assert folded["kept"] < 0.8
    assert folded["invented"] > 0.2
