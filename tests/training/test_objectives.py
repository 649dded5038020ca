"""The FLAT objective: identities of theory, and use in anybody's training loop."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.flow import Trajectory, interpolate, power_schedule
from laminar.training.objectives import ObjectiveConfig, alignment, distance, objective


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def trajectory(n: int = 4) -> Trajectory:
    times = torch.tensor(power_schedule(n, 1.0), dtype=torch.float64)
    states = [draw(2, 9, 8, seed=k) for k in range(n + 1)]
    return Trajectory(states, [draw(2, 9, 8, seed=20 + k) for k in range(n)], times, n)


def test_velocity_alignment_is_deep_supervision_of_the_implied_endpoint() -> None:
    """v^(k) - v_{t_k} = ((1 - t_k) / delta_k) (implied endpoint - x0), so L2 weights it by its square."""
    path, target = trajectory(), draw(2, 9, 8, seed=99)
    assert path.times is not None
    expected = []
    for k in range(path.nfe):
        before, after = path.times[k], path.times[k + 1]
        implied = (path.states[k + 1] - after * path.source) / (1 - after)
        weight = ((1 - after) / (before - after)) ** 2
        expected.append(weight * (implied - target).abs().square().mean())
    found = alignment(path, target, "velocity", "l2")
    torch.testing.assert_close(found, torch.stack(expected).mean(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("form", ["state", "velocity", "endpoint"])
@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_the_ideal_trajectory_costs_nothing_and_another_does(form: str, norm: str) -> None:
    target, source = draw(2, 9, 8, seed=1), draw(2, 9, 8, seed=2)
    times = torch.tensor(power_schedule(5, 0.5), dtype=torch.float64)
    ideal = Trajectory([interpolate(target, source, t) for t in times], [target] * 5, times, 5)
    assert float(alignment(ideal, target, form, norm)) < 1e-12
    assert float(alignment(trajectory(5), target, form, norm)) > 0.1


def test_a_network_without_times_is_aligned_on_uniform_ones() -> None:
    path, target = trajectory(), draw(2, 9, 8, seed=99)
    uniform = Trajectory(path.states, path.endpoints, torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0]), 4)
    free = Trajectory(path.states, path.endpoints, None, 4)
    assert float(alignment(free, target)) == pytest.approx(float(alignment(uniform, target)))


def test_every_term_can_be_switched_off() -> None:
    path, target = trajectory(), draw(2, 9, 8, seed=99)
    terms: Callable[..., dict[str, Tensor]] = lambda **weights: objective(path, target, ObjectiveConfig(**weights))  # noqa: E731
    assert set(terms(ssim=0.0, alignment=0.0)) == {"loss", "image"}
    both = terms(image=2.0, ssim=0.5, alignment=0.25)
    total = 2 * both["image"] + 0.5 * both["ssim"] + 0.25 * both["alignment"]
    torch.testing.assert_close(both["loss"], total)
    assert 0 < float(both["ssim"]) < 2


def test_gradients_reach_every_state_but_not_the_source() -> None:
    path, target = trajectory(), draw(2, 9, 8, seed=99)
    states = [state.requires_grad_() for state in path.states]
    objective(path, target, ObjectiveConfig(ssim=0.1, alignment=1.0))["loss"].backward()
    assert states[0].grad is None
    assert all(bool(state.grad.any()) for state in states[1:])


def test_decibels_weigh_every_image_by_its_own_error() -> None:
    target = draw(2, 9, 8, seed=1)
    error = draw(2, 9, 8, seed=2) * torch.tensor([1.0, 1e-2])[:, None, None]
    image = (target + error).requires_grad_()
    level = distance(image, target, "db")
    squares = error.abs().square().mean((1, 2))
    torch.testing.assert_close(level, 10 * (squares + 1e-9).log10().mean())
    level.backward()
    assert image.grad is not None
    shares = (image.grad * error.conj()).real.sum((1, 2))
    torch.testing.assert_close(shares[0], shares[1], rtol=1e-3, atol=0)
    halved = distance(target + error / 2, target, "db")
    torch.testing.assert_close(level - halved, torch.tensor(6.0206).double(), rtol=0, atol=2e-3)


def test_wrong_weights_and_norms_are_refused() -> None:
    for name in ("image", "ssim", "alignment", "flow_matching", "symmetry"):
        with pytest.raises(ConfigError, match=f"objective.{name} must be zero or positive; got -1"):
            ObjectiveConfig(**{name: -1})
        with pytest.raises(ConfigError, match=f"objective.{name} must be zero or positive; got nan"):
            ObjectiveConfig(**{name: float("nan")})
    with pytest.raises(ConfigError, match="image_norm must be l1 or l2 or db; got 'l3'"):
        ObjectiveConfig(image_norm="l3")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="alignment_form must be state or velocity or endpoint; got 'path'"):
        ObjectiveConfig(alignment_form="path")  # type: ignore[arg-type]
