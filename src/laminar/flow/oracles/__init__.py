"""Priors whose conditional flow is known in closed form: what a network can be checked against."""

from laminar.flow.oracles.dense import matrix_of
from laminar.flow.oracles.gaussian import Gaussian
from laminar.flow.oracles.mixture import Mixture
from laminar.flow.oracles.prior import Prior
from laminar.flow.oracles.regularizer import ConstantOracle, OracleRegularizer

__all__ = ["ConstantOracle", "Gaussian", "Mixture", "OracleRegularizer", "Prior", "matrix_of"]
