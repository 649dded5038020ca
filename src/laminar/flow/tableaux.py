"""Explicit Runge-Kutta methods as data: a tableau checks itself against the order that it claims.

Hairer, Norsett and Wanner, *Solving Ordinary Differential Equations I*, doi 10.1007/978-3-540-78862-1, chapter II.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy
from numpy.typing import NDArray

from laminar.errors import ConfigError

Tree = tuple["Tree", ...]


@dataclass(frozen=True)
class Tableau:
    """An explicit Runge-Kutta method: nodes `c` (s,), matrix `a` (s, s), weights `b` (s,) of order `order`.

    `embedded`: weights (s,) of order `order - 1` over the same stages, whose difference to `b` estimates the error
    of a step; None if there are none. Raises ConfigError unless `a` is strictly lower triangular, its rows sum to
    the nodes, and both weights fulfill the order condition of every rooted tree up to their order.
    """

    name: str
    nodes: tuple[float, ...]
    matrix: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    embedded: tuple[float, ...] | None
    order: int

    def __post_init__(self) -> None:
        stages = self.stages
        if self.order < 1 or {len(self.nodes), len(self.matrix), *map(len, self.matrix)} != {stages}:
            raise ConfigError(f"tableau '{self.name}': expected order >= 1 and {stages} nodes and rows of {stages}")
        if any(entry != 0 for i, row in enumerate(self.matrix) for entry in row[i:]):
            raise ConfigError(f"tableau '{self.name}': an explicit matrix is strictly lower triangular")
        for i, (node, row) in enumerate(zip(self.nodes, self.matrix, strict=True)):
            if not math.isclose(sum(row), node, abs_tol=1e-12):
                raise ConfigError(f"tableau '{self.name}': row {i} sums to {sum(row):g}, its node is {node:g}")
        self._check_order(self.weights, self.order)
        if self.embedded is not None:
            self._check_order(self.embedded, self.order - 1)

    def _check_order(self, weights: Sequence[float], order: int) -> None:
        if len(weights) != self.stages:
            raise ConfigError(f"tableau '{self.name}': expected {self.stages} weights, got {len(weights)}")
        matrix = numpy.array(self.matrix)
        for tree in (tree for size in range(1, order + 1) for tree in sorted(_rooted_trees(size))):
            found, expected = float(weights @ _elementary_weights(tree, matrix)), 1 / _density(tree)
            if not math.isclose(found, expected, abs_tol=1e-12):
                raise ConfigError(
                    f"tableau '{self.name}' is not of order {order}: the condition of order {_size(tree)} "
                    f"for the tree {tree} expects {expected:g}, got {found:g}"
                )

    @property
    def stages(self) -> int:
        return len(self.weights)

    @property
    def first_same_as_last(self) -> bool:
        """Whether the last stage of a step is the velocity at its end, hence the first stage of the next step."""
        return self.stages > 1 and self.nodes[-1] == 1 and self.matrix[-1] == self.weights


@cache
def _rooted_trees(size: int) -> frozenset[Tree]:
    """All rooted trees of `size` vertices; a tree is the sorted tuple of the subtrees at its root."""
    if size == 1:
        return frozenset({()})
    return frozenset(grown for tree in _rooted_trees(size - 1) for grown in _with_one_more_leaf(tree))


def _with_one_more_leaf(tree: Tree) -> Iterator[Tree]:
    yield tuple(sorted((*tree, ())))
    for i, branch in enumerate(tree):
        for grown in _with_one_more_leaf(branch):
            yield tuple(sorted((*tree[:i], grown, *tree[i + 1 :])))


def _size(tree: Tree) -> int:
    return 1 + sum(map(_size, tree))


def _density(tree: Tree) -> int:
    return _size(tree) * math.prod(map(_density, tree))


def _elementary_weights(tree: Tree, matrix: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
    product = numpy.ones(len(matrix))
    for branch in tree:
        product = product * (matrix @ _elementary_weights(branch, matrix))
    return product


EULER = Tableau("Euler", (0,), ((0,),), (1,), None, 1)
MIDPOINT = Tableau("midpoint", (0, 1 / 2), ((0, 0), (1 / 2, 0)), (0, 1), None, 2)
HEUN = Tableau("Heun", (0, 1), ((0, 0), (1, 0)), (1 / 2, 1 / 2), None, 2)
RALSTON = Tableau("Ralston", (0, 2 / 3), ((0, 0), (2 / 3, 0)), (1 / 4, 3 / 4), None, 2)
RK4 = Tableau(
    "RK4",
    nodes=(0, 1 / 2, 1 / 2, 1),
    matrix=((0, 0, 0, 0), (1 / 2, 0, 0, 0), (0, 1 / 2, 0, 0), (0, 0, 1, 0)),
    weights=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
    embedded=None,
    order=4,
)
# doi 10.1016/0893-9659(89)90079-7
BOGACKI_SHAMPINE = Tableau(
    "Bogacki-Shampine",
    nodes=(0, 1 / 2, 3 / 4, 1),
    matrix=((0, 0, 0, 0), (1 / 2, 0, 0, 0), (0, 3 / 4, 0, 0), (2 / 9, 1 / 3, 4 / 9, 0)),
    weights=(2 / 9, 1 / 3, 4 / 9, 0),
    embedded=(7 / 24, 1 / 4, 1 / 3, 1 / 8),
    order=3,
)
# doi 10.1016/0771-050X(80)90013-3
DORMAND_PRINCE = Tableau(
    "Dormand-Prince",
    nodes=(0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1),
    matrix=(
        (0, 0, 0, 0, 0, 0, 0),
        (1 / 5, 0, 0, 0, 0, 0, 0),
        (3 / 40, 9 / 40, 0, 0, 0, 0, 0),
        (44 / 45, -56 / 15, 32 / 9, 0, 0, 0, 0),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729, 0, 0, 0),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656, 0, 0),
        (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0),
    ),
    weights=(35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0),
    embedded=(5179 / 57600, 0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40),
    order=5,
)


def named(method: Tableau | str) -> Tableau:
    """A tableau, or the one of that name in `TABLEAUX`; ConfigError for another name."""
    if isinstance(method, Tableau):
        return method
    if method not in TABLEAUX:
        raise ConfigError(f"a solver is a Tableau or one of {', '.join(TABLEAUX)}; got {method!r}")
    return TABLEAUX[method]


TABLEAUX: dict[str, Tableau] = {
    "euler": EULER,
    "midpoint": MIDPOINT,
    "heun": HEUN,
    "ralston": RALSTON,
    "rk4": RK4,
    "bogacki_shampine": BOGACKI_SHAMPINE,
    "dormand_prince": DORMAND_PRINCE,
}
