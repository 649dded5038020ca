"""Adapting to one scan: some of its samples are kept from training and judge it, and nothing gets worse by them."""

import signal
from dataclasses import replace
from typing import Any

import pytest
import torch

from laminar.data.formats import LazyScan
from laminar.data.masks import make_mask
from laminar.data.preparation import Problem
from laminar.data.simulation import simulate_slice
from laminar.errors import ConfigError
from laminar.models import RegularizerConfig, UnrolledConfig, UnrolledNetwork, VarNet, VarNetConfig
from laminar.scan import Scan, cartesian
from laminar.training.adaptation import Adaptation, AdaptationConfig, adapt, slices_of

CONFIG = AdaptationConfig(
    minutes=60,
    steps=8,
    learning_rate=5e-2,
    look_every=2,
    parts="coefficients",
)


def scan() -> Scan:
    """Two slices of a simulated head and an empty one between them, twofold undersampled."""
    heads = [simulate_slice("brain", (40, 48), 4, 0.01, torch.Generator().manual_seed(s)).kspace for s in (0, 1)]
    kspace = torch.stack([heads[0], 0 * heads[0], heads[1]])
    full = cartesian(kspace, torch.ones(40, 48, dtype=torch.bool), noise_std=0.01)
    return full.undersample(make_mask("equispaced-fraction", (40, 48), 2, 8, 0))


def network(**settings: Any) -> UnrolledNetwork:
    """One with far too little trust in the data."""
    torch.manual_seed(0)
    regularizer = RegularizerConfig(channels=[4, 6])
    chosen: dict[str, Any] = {"n_cascades": 2, "coefficients": "free", "source": "zero-filled", "data_weight": 3.0}
    return UnrolledNetwork(config=UnrolledConfig(regularizer=regularizer, **(chosen | settings)))


def adapted(config: AdaptationConfig = CONFIG, start: UnrolledNetwork | None = None, **options: Any) -> Adaptation:
    return adapt(start or network(), *slices_of(LazyScan.of(scan())), config, **options)


def test_a_gain_is_kept_and_the_start_left_alone() -> None:
    start = network()
    before = {name: tensor.clone() for name, tensor in start.state_dict().items()}
    found = adapted(start=start)
    assert found.after < found.before - 0.1
    assert 0 < found.step <= found.steps == 8
    assert all(torch.equal(tensor, before[name]) for name, tensor in start.state_dict().items())
    again = adapted()
    assert (again.before, again.after, again.step) == (found.before, found.after, found.step)


def test_where_nothing_is_gained_the_start_comes_back_and_it_stops() -> None:
    start = network()
    found = adapted(replace(CONFIG, steps=100, learning_rate=1e3, patience=2, parts="all"), start)
    assert (found.step, found.steps, found.stopped) == (0, 4, "no gain any more")
    assert found.after == found.before
    assert all(torch.equal(a, b) for a, b in zip(found.network.parameters(), start.parameters(), strict=True))


def test_no_step_sees_a_sample_that_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other values at those samples change what the judge says, and not the weights after a number of steps."""
    slices, problem = slices_of(LazyScan.of(scan()))
    assert slices == [0, 2]
    judged: dict[int, torch.Tensor] = {}
    from laminar.training import adaptation

    split = adaptation._Judge._split

    def noted(self: Any, index: int) -> tuple[Problem, torch.Tensor]:
        whole, held = split(self, index)
        judged[index] = held
        return whole, held

    monkeypatch.setattr(adaptation._Judge, "_split", noted)
    config = replace(CONFIG, steps=2, look_every=2)
    first = adapt(network(), slices, problem, config)

    def spoiled(index: int) -> Problem:
        whole = problem(index)
        return replace(whole, y=whole.y * (1 - 0.5 * judged[index][:, None]))

    second = adapt(network(), slices, spoiled, config)
    assert first.step == second.step == 2
    assert second.before != first.before
    for a, b in zip(first.network.parameters(), second.network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_an_interrupt_keeps_the_best_so_far() -> None:
    def interrupt(step: int, loss: float, best: float) -> None:
        if step == 4:
            signal.raise_signal(signal.SIGINT)

    found = adapted(report=interrupt)
    assert (found.interrupted, found.stopped, found.steps) == (True, "interrupted", 5)
    assert found.after < found.before


@pytest.mark.parametrize("parts", ["last", "coefficients"])
def test_only_the_parts_that_are_asked_for_change(parts: str) -> None:
    start = network()
    found = adapted(replace(CONFIG, steps=4, learning_rate=2e-4, parts=parts), start)  # type: ignore[arg-type]
    old = dict(start.named_parameters())
    changed = {name for name, p in found.network.named_parameters() if not torch.equal(p, old[name])}
    assert "coefficients.data" in changed
    assert all(name.startswith("coefficients.") or (parts == "last" and ".last." in name) for name in changed)
    assert len(changed) > 1 or parts == "coefficients"


def test_other_networks_and_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="an unrolled network can be adapted to a scan; got a VarNet"):
        adapt(VarNet(VarNetConfig(2, 3, 1, 2, 1)), *slices_of(LazyScan.of(scan())), CONFIG)
    for wrong in ({"parts": "first"}, {"judged": 0.0}, {"steps": 0}):
        with pytest.raises(ConfigError, match=f"{next(iter(wrong))} must be"):
            replace(CONFIG, **wrong)  # type: ignore[arg-type]
