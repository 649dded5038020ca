"""The conditional flow: paths, schedules, closed-form cascades, solvers."""

from laminar.flow.cascade import Discretization, discretization, implied_times
from laminar.flow.data_steps import DATA_STEPS, DataStep
from laminar.flow.path import (
    check_schedule,
    cosine_schedule,
    interpolate,
    make_schedule,
    power_schedule,
    relative_steps,
    softmax_schedule,
    uniform_schedule,
)
from laminar.flow.poisson import PoissonTerm
from laminar.flow.reference import integrate_reference
from laminar.flow.solvers import SolverError, Velocity, integrate, integrate_adaptive
from laminar.flow.sources import noisy, pseudo_inverse, tikhonov, zero_filled
from laminar.flow.tableaux import EULER, TABLEAUX, Tableau
from laminar.flow.trajectory import Trajectory

__all__ = [
    "DATA_STEPS",
    "EULER",
    "TABLEAUX",
    "DataStep",
    "Discretization",
    "PoissonTerm",
    "SolverError",
    "Tableau",
    "Trajectory",
    "Velocity",
    "check_schedule",
    "cosine_schedule",
    "discretization",
    "implied_times",
    "integrate",
    "integrate_adaptive",
    "integrate_reference",
    "interpolate",
    "make_schedule",
    "noisy",
    "power_schedule",
    "pseudo_inverse",
    "relative_steps",
    "softmax_schedule",
    "tikhonov",
    "uniform_schedule",
    "zero_filled",
]
