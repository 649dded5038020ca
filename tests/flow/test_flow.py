"""Schedules and closed-form coefficients against what theory says of them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from laminar.errors import ConfigError
from laminar.flow import (
    DATA_STEPS,
    check_schedule,
    data_coefficient,
    implied_times,
    interpolate,
    noise_ratio,
    power_schedule,
    relative_steps,
    uniform_schedule,
)


@given(st.integers(1, 60), st.floats(0, 4), st.sampled_from(["image", "start"]))
def test_schedules_fall_from_one_to_zero_and_their_steps_give_them_back(n: int, alpha: float, dense_at: str) -> None:
    times = check_schedule(power_schedule(n, alpha, dense_at))
    steps = relative_steps(times)
    assert len(steps) == n
    assert steps[-1] == 1
    recovered = implied_times(torch.tensor(steps, dtype=torch.float64))
    torch.testing.assert_close(recovered, torch.tensor(times, dtype=torch.float64), rtol=0, atol=1e-12)


def test_power_schedule_read_literally() -> None:
    """alpha = 2, N = 12, dense at the start: a first step of 5.8e-4 and a last of 0.23."""
    times = power_schedule(12, 2, "start")
    assert times[0] - times[1] == pytest.approx(5.8e-4, rel=0.01)
    assert times[-2] - times[-1] == pytest.approx(0.23, rel=0.01)
    assert sum(relative_steps(uniform_schedule(12))) == pytest.approx(3.10, abs=0.005)


@pytest.mark.parametrize("times", [(1.0,), (1.0, 0.5), (0.9, 0.0), (1.0, 0.5, 0.5, 0.0), (1.0, 0.2, 0.4, 0.0)])
def test_what_is_no_schedule_is_refused(times: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="falls strictly"):
        check_schedule(times)


@pytest.mark.parametrize("settings", [(0, 0.0, "image"), (3, -1.0, "image"), (3, 1.0, "end")])
def test_impossible_power_schedules_are_refused(settings: tuple[int, float, str]) -> None:
    with pytest.raises(ConfigError):
        power_schedule(*settings)


@pytest.mark.parametrize("data_step", [step for step in DATA_STEPS if step != "hard"])
def test_closed_form_and_its_inverse(data_step: str) -> None:
    step = torch.tensor([0.1, 0.4, 1.0], dtype=torch.float64)
    ratio = torch.tensor([0.03, 1.0, 7.0], dtype=torch.float64)
    coefficient = data_coefficient(data_step, step, ratio)  # type: ignore[arg-type]
    torch.testing.assert_close(noise_ratio(data_step, step, coefficient), ratio)  # type: ignore[arg-type]


def test_path_runs_from_source_to_image() -> None:
    image, source = torch.zeros(1, 2, 2), torch.ones(1, 2, 2)
    assert torch.equal(interpolate(image, source, 0.0), image)
    assert torch.equal(interpolate(image, source, 1.0), source)
    assert float(interpolate(image, source, 0.25).mean()) == 0.25
