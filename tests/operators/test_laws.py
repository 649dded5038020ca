"""What every operator obeys, whatever its geometry: checked once for all of them, in single and double precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from laminar.operators import (
    Beam,
    Convolution,
    Counting,
    Encoding,
    Inpainting,
    LinearOperator,
    Projector,
    SoftSense,
    Stacked,
    Weighted,
    box,
    gaussian,
    spectral_norm,
)

SIZE = (12, 16)


def draw(*shape: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def pixels() -> Tensor:
    return torch.rand(SIZE, generator=torch.Generator().manual_seed(1)) < 0.5


def encoding(real: torch.dtype) -> LinearOperator:
    maps = draw(1, 3, *SIZE, dtype=real.to_complex(), seed=2) / 4
    return Encoding(pixels()[None], maps)


def soft_sense(real: torch.dtype, mask: Tensor | None = None) -> LinearOperator:
    maps = draw(1, 2, 3, *SIZE, dtype=real.to_complex(), seed=2) / 4
    return SoftSense((pixels() if mask is None else mask)[None], maps)


def series(real: torch.dtype) -> LinearOperator:
    """Three frames with masks of their own."""
    maps = draw(1, 2, *SIZE, dtype=real.to_complex(), seed=2) / 4
    masks = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(1)) < 0.5
    return Stacked(Encoding(masks, maps.expand(3, -1, -1, -1)), 3)


def volume(real: torch.dtype) -> LinearOperator:
    maps = draw(1, 2, 3, *SIZE, dtype=real.to_complex(), seed=2) / 4
    return Encoding(torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(1)) < 0.5, maps)


KERNEL = torch.rand(3, 4, generator=torch.Generator().manual_seed(3))
ANGLES = torch.arange(9) * torch.pi / 9
OPERATORS: dict[str, Callable[[torch.dtype], LinearOperator]] = {
    "cartesian": encoding,
    "soft": soft_sense,
    "soft, columns": lambda real: soft_sense(real, pixels()[:1].expand(SIZE)),
    "soft, rows": lambda real: soft_sense(real, pixels()[:, :1].expand(SIZE)),
    "blur": lambda real: Convolution(KERNEL, SIZE),
    "complex blur": lambda real: Convolution(KERNEL * (1 + 2j), SIZE),
    "super-resolution": lambda real: Convolution(box(2), SIZE, 2),
    "blurred super-resolution": lambda real: 3 * Convolution(gaussian(1.0), SIZE, 4),
    "parallel beam": lambda real: Projector(Beam(ANGLES, 20), SIZE),
    "fan beam": lambda real: Projector(Beam(2 * ANGLES, 15, 2.5, 40.0, 30.0), SIZE),
    "weighted beam": lambda real: Weighted(Projector(Beam(ANGLES, 20), SIZE), torch.rand(1, 9, 20) + 0.1),
    "inpainting": lambda real: Inpainting(pixels()),
    "series": series,
    "volume": volume,
    "counts": lambda real: Counting(0.1 * Projector(Beam(ANGLES, 20), SIZE), torch.ones(1, 9, 20)),
}
SOFT = ("soft", "soft, columns", "soft, rows")
SHAPES = dict.fromkeys(SOFT, (2, *SIZE)) | {"series": (3, *SIZE), "volume": (3, *SIZE)}
OF_THEIR_IMAGES = ("cartesian", *SOFT, "series", "volume")  # whose maps are those of one image
COMPLEX_ONLY = (*OF_THEIR_IMAGES, "complex blur")
KINDS = [
    (name, dtype)
    for name in OPERATORS
    for dtype in (torch.float32, torch.float64, torch.complex64, torch.complex128)
    if dtype.is_complex or name not in COMPLEX_ONLY
]


@pytest.mark.parametrize(("name", "dtype"), KINDS)
def test_laws(name: str, dtype: torch.dtype) -> None:
    """Adjoint, Gram matrix, batch = single, the norm, the optimum of the regularized solve and its gradient."""
    operator = OPERATORS[name](dtype.to_real())
    eps = torch.finfo(dtype).eps
    shape = SHAPES.get(name, SIZE)
    x, other = draw(1, *shape, dtype=dtype), draw(1, *shape, dtype=dtype, seed=4)
    image = operator(x)
    assert image.dtype == (dtype.to_complex() if name in COMPLEX_ONLY else dtype)
    y = draw(*image.shape, dtype=image.dtype, seed=5)
    size = float(image.norm() * y.norm())
    assert abs(torch.vdot(y.flatten(), image.flatten()) - torch.vdot(operator.adjoint(y).flatten(), x.flatten())) < (
        50 * eps * size
    )
    norm = operator.norm or float(spectral_norm(operator, x, 300))
    assert float(spectral_norm(operator, x, 300)) == pytest.approx(norm, rel=0.01)

    def close(a: Tensor, b: Tensor, scale: float) -> None:
        assert a.dtype == b.dtype == dtype
        torch.testing.assert_close(a, b, rtol=0, atol=100 * eps * scale)

    close(operator.gram(x), operator.adjoint(operator(x)), norm**2)
    both = torch.cat([x, other])
    if name not in OF_THEIR_IMAGES:
        assert torch.allclose(operator(both)[1:], operator(other), atol=100 * eps * norm)
        close(operator.gram(both)[1:], operator.gram(other), norm**2)

    weight = torch.tensor([0.1 * norm**2], dtype=dtype.to_real(), requires_grad=True)
    found = operator.solve_regularized(x, weight, iterations=200, tolerance=eps)
    close(operator.gram(found) + weight * found, x, 10)
    found.abs().square().sum().backward()
    slope = -2 * (found.conj() * operator.solve_regularized(found, weight, iterations=200)).sum().real.detach()
    assert float(weight.grad) == pytest.approx(float(slope), rel=1e4 * eps)  # type: ignore[arg-type]


def test_kernels_are_what_they_say() -> None:
    """A point becomes the kernel, its center in place; blocks are averaged."""
    point = torch.zeros(1, *SIZE)
    point[0, 5, 6] = 1
    blurred = Convolution(KERNEL, SIZE)(point)[0]
    torch.testing.assert_close(blurred[4:7, 4:8], KERNEL)
    image = draw(1, *SIZE, dtype=torch.float64)
    coarse = Convolution(box(2), SIZE, 2)(image)
    torch.testing.assert_close(coarse, torch.nn.functional.avg_pool2d(image, 2))
    assert gaussian(1.3).sum() == pytest.approx(1)
