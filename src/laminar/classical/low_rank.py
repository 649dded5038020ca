"""Series whose blocks are of low rank over their frames, and what differs from them sparsely."""

from __future__ import annotations

import torch
from torch import Tensor

from laminar.classical.proximal import Solution, fista, settle
from laminar.classical.sparsity import curvature_of, threshold_of
from laminar.errors import ConfigError
from laminar.operators import LinearOperator

BLOCK = 8


def locally_low_rank(
    y: Tensor,
    operator: LinearOperator,
    weight: float | Tensor,
    *,
    scale: float | Tensor | None = None,
    norm: float | None = None,
    block: int = BLOCK,
    shifts: torch.Generator | None = None,
    iterations: int = 100,
    tolerance: float = 1e-4,
) -> Solution:
    """The series of images whose blocks are nearly of low rank over the frames, by FISTA.

        argmin_x 1/2 ||A x - y||^2 + weight * scale * sum_blocks ||C_b x||_*

    C_b x is the Casorati matrix (pixel, frame) of the block b of `block` x `block` pixels of a tiling, `||.||_*` the
    sum of singular values. Arguments as of `l1_wavelet`, for images (batch, frame, y, x); with `shifts` the tiling is
    moved anew in every iteration. Raises ConfigError for images without frames. Trzasko and Manduca 2011 (ISMRM 4371);
    Zhang et al. 2015, doi:10.1002/mrm.25275.
    """
    back = operator.adjoint(y)
    if len(operator.image_shape(back)) != 3 or block < 1:
        raise ConfigError(
            f"low rank needs a series of images (frame, y, x), as --together makes one, and blocks of 1 pixel or more; "
            f"got {operator.image_shape(back)} and {block}"
        )
    curvature = curvature_of(operator, back, norm)
    threshold = threshold_of(weight, scale, back, curvature)

    def prox(x: Tensor, step: Tensor) -> Tensor:
        shift = (0, 0) if shifts is None else tuple(torch.randint(block, (2,), generator=shifts).tolist())
        return shrunk(x, step * threshold, block, shift)

    start = torch.zeros_like(back)
    iterates = fista(lambda x: operator.gram(x) - back, prox, start, 1 / curvature)
    return settle(iterates, start, iterations, tolerance)


def shrunk(x: Tensor, threshold: Tensor, block: int, shift: tuple[int, ...] = (0, 0)) -> Tensor:
    """Every block's singular values less the threshold (batch, 1, 1, 1): the prox of their sum.

    A periodic tiling: the image is padded with zeros to whole blocks.
    """
    height, width = x.shape[-2:]
    rows, columns = (-(-n // block) for n in (height, width))
    padded = torch.nn.functional.pad(x, (0, columns * block - width, 0, rows * block - height)).roll(shift, (-2, -1))
    tiles = padded.reshape(*x.shape[:2], rows, block, columns, block)
    casorati = tiles.permute(0, 2, 4, 3, 5, 1).flatten(3, 4)  # (batch, row, column, pixel, frame)
    values, vectors = torch.linalg.eigh(casorati.mH @ casorati)
    singular = values.clamp_min(0).sqrt()
    tiny = torch.finfo(singular.dtype).tiny
    kept = (singular - threshold.reshape(-1, 1, 1, 1)).clamp_min(0) / singular.clamp_min(tiny)
    casorati = (casorati @ (vectors * kept.unsqueeze(-2))) @ vectors.mH
    tiles = casorati.reshape(len(x), rows, columns, block, block, -1).permute(0, 5, 1, 3, 2, 4)
    whole: Tensor = tiles.reshape(padded.shape).roll([-n for n in shift], (-2, -1))
    return whole[..., :height, :width]
