"""`(A^H A + w I) x = b` for line masks, where every image line is a small system of its own.

A mask that is constant along one axis leaves that axis without a transform, so `A^H A` never mixes image lines:
`G_l = sum_c S_c^H F^H M F S_c` acts on line l alone. It depends on the coils only through `S^H S`, and stays the same
under a unitary mixture of the coils of one line: the eigenvectors of `S S^H` give the fewest coils that carry it.
Where a pixel holds several images, those of a line are one system, and all of this holds for it.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from laminar.operators.fourier import circulant, real_spectrum
from laminar.operators.linear import LinearOperator, squared_goal, squared_norm

# Residuals are read from a GPU only so often, as every reading waits for it.
_CHECK_EVERY = {"cpu": 1}
_CHECK_ELSEWHERE = 4


class LineWise(LinearOperator):
    """An operator that is solved line by line where its mask allows it: `A^H A` is kept up to `tolerance / 4` in norm.

    `has_lines` says whether it does, `to_lines` brings images to lines (batch, line, n) and `from_lines` back.
    """

    _systems: dict[float, LineSystems]

    def invert_regularized(
        self, rhs: Tensor, weight: Tensor, start: Tensor | None, iterations: int, tolerance: float
    ) -> Tensor:
        if not self.has_lines:
            return super().invert_regularized(rhs, weight, start, iterations, tolerance)
        residual = rhs if start is None else rhs - self.gram(start) - weight * start
        dropped = max(tolerance / 4, 8 * torch.finfo(rhs.dtype).eps)
        if dropped not in self._systems:  # made once for a tolerance and kept: a solution depends on no other solve
            self._systems[dropped] = self._line_systems(dropped)
        goal = squared_goal(squared_norm(rhs), tolerance)
        systems, lines = self._systems[dropped], self.to_lines(residual)
        correction = self.from_lines(systems.solve(lines, weight.reshape(-1, 1, 1), goal, iterations))
        return correction if start is None else start + correction

    @property
    @abstractmethod
    def has_lines(self) -> bool: ...

    @abstractmethod
    def _line_systems(self, dropped: float) -> LineSystems: ...

    @abstractmethod
    def to_lines(self, images: Tensor) -> Tensor: ...

    @abstractmethod
    def from_lines(self, lines: Tensor) -> Tensor: ...


class LineSystems:
    """The systems of all lines, kept in blocks whose iterations stay in the processor's cache.

    `maps` (batch, coil, line, n), coils `S_c` along the transformed axis; where a pixel holds several images
    (batch, coil, line, set * n), one set after the other, as in right-hand sides; `lines` (batch or 1, n), true =
    acquired, not centered; `dropped` is the power `max_x sum_c |S_c|^2` that left-out virtual coils may carry in a
    line, so each `G_l` is kept up to that spectral norm. `block_bytes` bounds the coil images of a block. Not
    differentiable.
    Buehrer et al. 2007, doi:10.1002/mrm.21237; Zhang et al. 2013, doi:10.1002/mrm.24267.
    """

    def __init__(self, maps: Tensor, lines: Tensor, dropped: float, block_bytes: int) -> None:
        batch, coils, _, n = maps.shape
        self._n = lines.shape[-1]
        self._size = max(1, block_bytes // (batch * coils * n * maps.element_size()))
        self._spectrum = real_spectrum(lines[:, None, None], maps)
        each = dropped * self._n / n  # what is dropped of the sets of a pixel adds up
        self._maps = [virtual_coils(part.transpose(1, 2), each) for part in torch.split(maps, self._size, 2)]

    def solve(self, rhs: Tensor, weight: Tensor, goal: Tensor, iterations: int) -> Tensor:
        """`(G_l + w I)^(-1) rhs_l` of every line by conjugate gradient from zero.

        Shapes: `rhs` (batch, line, n), `weight` (batch or 1, 1, 1). A block stops when its share of `goal` (batch,),
        the squared norm allowed to the residual of the image, is reached in every image.
        """
        parts = torch.split(rhs, self._size, 1)
        shares = [goal * part.shape[1] / rhs.shape[1] for part in parts]
        blocks = zip(self._maps, parts, shares, strict=True)
        return torch.cat([self._solve(maps, part, weight, share, iterations) for maps, part, share in blocks], 1)

    def _solve(self, maps: Tensor, rhs: Tensor, weight: Tensor, goal: Tensor, iterations: int) -> Tensor:
        residual = torch.view_as_real(rhs.resolve_conj()).flatten(-2).clone()
        direction, x, energy = residual.clone(), torch.zeros_like(residual), _inner(residual, residual)
        conjugate, check = maps.conj().resolve_conj(), _CHECK_EVERY.get(rhs.device.type, _CHECK_ELSEWHERE)
        for k in range(iterations):
            if k % check == 0 and bool((energy.sum((1, 2)) <= goal).all()):
                break
            coils = self._sampled(maps * _complex(direction).unsqueeze(-2))
            mapped = torch.view_as_real(coils.mul_(conjugate).sum(-2)).flatten(-2).addcmul_(weight, direction)
            step = _ratio(energy, _inner(direction, mapped))
            x.addcmul_(step, direction)
            residual.addcmul_(step, mapped, value=-1)
            energy, previous = _inner(residual, residual), energy
            direction.mul_(_ratio(energy, previous)).add_(residual)
        return _complex(x)

    def _sampled(self, coils: Tensor) -> Tensor:
        """`F^H M F` of what all sets give a coil, for each of them."""
        sets = coils.shape[-1] // self._n
        if sets == 1:
            return circulant(coils, self._spectrum, (-1,))
        joined = coils.reshape(*coils.shape[:-1], sets, self._n).sum(-2)
        return circulant(joined, self._spectrum, (-1,)).repeat(*[1] * (coils.ndim - 1), sets)


def virtual_coils(maps: Tensor, dropped: float) -> Tensor:
    """The fewest mixtures of the coils `maps` (..., coil, n) that keep `S^H S`, but for `dropped` in `sum_c |S_c|^2`.

    All leading entries get the number that the worst of them needs, at least one.
    """
    mixtures = torch.linalg.eigh(maps @ maps.mH)[1]
    virtual = mixtures.mH @ maps  # from the least power to the greatest
    real, imaginary = torch.view_as_real(virtual).unbind(-1)
    power = (real * real).addcmul_(imaginary, imaginary).cumsum(-2).amax(-1)
    keep = max(1, int((power > dropped).sum(-1).max()))
    kept: Tensor = virtual[..., virtual.shape[-2] - keep :, :].contiguous()
    return kept


def _complex(pairs: Tensor) -> Tensor:
    numbers: Tensor = torch.view_as_complex(pairs.view(*pairs.shape[:-1], -1, 2))
    return numbers


def _inner(a: Tensor, b: Tensor) -> Tensor:
    product: Tensor = torch.linalg.vecdot(a, b)
    return product.unsqueeze(-1)


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """`numerator / denominator`, and 0 for a line that is solved: what underflows has noise for a ratio."""
    ratio: Tensor = torch.where(denominator > torch.finfo(denominator.dtype).tiny, numerator / denominator, 0)
    return ratio
