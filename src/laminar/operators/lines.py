"""`(A^H A + w I) x = b` for line masks, where every image line is a small system of its own.

A mask that is constant along one axis leaves that axis without a transform, so `A^H A` never mixes image lines:
`G_l = sum_c S_c^H F^H M F S_c` acts on line l alone. It depends on the coils only through `S^H S`, and stays the same
under a unitary mixture of the coils of one line: the eigenvectors of `S S^H` give the fewest coils that carry it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from laminar.operators.fourier import circulant, real_spectrum

# Residuals are read from a GPU only so often, as every reading waits for it.
_CHECK_EVERY = {"cpu": 1}
_CHECK_ELSEWHERE = 4


class LineSystems:
    """The systems of all lines, kept in blocks whose iterations stay in the processor's cache.

    `maps` (batch, coil, line, n), coils `S_c` along the transformed axis; `lines` (batch or 1, n), true = acquired, not
    centered; `dropped` is the power `max_x sum_c |S_c|^2` that left-out virtual coils may carry in a line, so each
    `G_l` is kept up to that spectral norm. `block_bytes` bounds the coil images of a block. Not differentiable.
    Buehrer et al. 2007, doi:10.1002/mrm.21237; Zhang et al. 2013, doi:10.1002/mrm.24267.
    """

    def __init__(self, maps: Tensor, lines: Tensor, dropped: float, block_bytes: int) -> None:
        batch, coils, _, n = maps.shape
        self._size = max(1, block_bytes // (batch * coils * n * maps.element_size()))
        self._spectrum = real_spectrum(lines[:, None, None], maps)
        self._maps = [virtual_coils(part.transpose(1, 2), dropped) for part in torch.split(maps, self._size, 2)]

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
            coils = circulant(maps * _complex(direction).unsqueeze(-2), self._spectrum, (-1,))
            mapped = torch.view_as_real(coils.mul_(conjugate).sum(-2)).flatten(-2).addcmul_(weight, direction)
            step = _ratio(energy, _inner(direction, mapped))
            x.addcmul_(step, direction)
            residual.addcmul_(step, mapped, value=-1)
            energy, previous = _inner(residual, residual), energy
            direction.mul_(_ratio(energy, previous)).add_(residual)
        return _complex(x)


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
