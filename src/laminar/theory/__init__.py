"""What production is checked against, and never calls: priors whose conditional flow is known in closed form, the three
likelihoods of a measurement on the path, conversions between the quantities of a Gaussian path, and worlds to learn
and to sample in whose answers are known.
"""

from laminar.theory.dense import matrix_of
from laminar.theory.gaussian import Gaussian
from laminar.theory.mixture import Mixture
from laminar.theory.prior import AnalyticPrior
from laminar.theory.regularizer import ConstantOracle, OracleRegularizer

__all__ = ["AnalyticPrior", "ConstantOracle", "Gaussian", "Mixture", "OracleRegularizer", "matrix_of"]
