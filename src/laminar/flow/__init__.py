"""The conditional flow: path, schedules, closed-form coefficients, trajectories."""

from laminar.flow.cascade import DATA_STEPS, DataStep, data_coefficient, implied_times, noise_ratio
from laminar.flow.path import check_schedule, interpolate, power_schedule, relative_steps, uniform_schedule
from laminar.flow.trajectory import Trajectory

__all__ = [
    "DATA_STEPS",
    "DataStep",
    "Trajectory",
    "check_schedule",
    "data_coefficient",
    "implied_times",
    "interpolate",
    "noise_ratio",
    "power_schedule",
    "relative_steps",
    "uniform_schedule",
]
