"""How exact the operators and the implicit gradient are: `python -m benchmarks.numerics`."""

from __future__ import annotations

from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.record import write_record
from laminar.data.masks import make_mask
from laminar.operators import Encoding, conjugate_gradient, fft2c, ifft2c, solve

SIZE, COILS = (96, 81), 6


def draw(*shape: int, dtype: torch.dtype, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed)).to(dtype)


def operator(dtype: torch.dtype) -> Encoding:
    maps = draw(1, COILS, *SIZE, dtype=torch.complex128, seed=0)
    maps = maps / maps.abs().square().sum(1, keepdim=True).sqrt()
    return Encoding(make_mask("equispaced-fraction", SIZE, 4, 10, 0)[None], maps.to(dtype))


def operator_errors(dtype: torch.dtype) -> dict[str, float]:
    encode, x = operator(dtype), draw(1, *SIZE, dtype=dtype, seed=1)
    y = draw(1, COILS, *SIZE, dtype=dtype, seed=2)
    left, right = torch.vdot(y.flatten(), encode(x).flatten()), torch.vdot(encode.adjoint(y).flatten(), x.flatten())
    gram = encode.adjoint(encode(x))
    return {
        "adjointness |<y,Ax> - <A^H y,x>| / (|Ax| |y|)": float((left - right).abs() / encode(x).norm() / y.norm()),
        "unitarity |F^H F x - x| / |x|": float((ifft2c(fft2c(x)) - x).norm() / x.norm()),
        "unitarity | |F x| - |x| | / |x|": float((fft2c(x).norm() - x.norm()).abs() / x.norm()),
        "gram |A^H A x - gram x| / |A^H A x|": float((encode.gram(x) - gram).norm() / gram.norm()),
    }


def gradient_errors() -> dict[str, float]:
    """Implicit gradient against backpropagation through converged iterations and against central differences."""
    encode, rhs = operator(torch.complex128), draw(1, *SIZE, dtype=torch.complex128, seed=3)
    weight = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    maps = encode.sensitivities.clone().requires_grad_()

    def loss(weight: Tensor, maps: Tensor, unrolled: bool = False) -> Tensor:
        a = Encoding(encode.mask, maps)
        normal = lambda x: a.gram(x) + weight * x  # noqa: E731
        x = conjugate_gradient(normal, rhs, iterations=60) if unrolled else solve(normal, rhs, iterations=60)
        return x.abs().square().sum()

    implicit = torch.autograd.grad(loss(weight, maps), (weight, maps))
    unrolled = torch.autograd.grad(loss(weight, maps, unrolled=True), (weight, maps))
    step = 1e-5
    with torch.no_grad():
        central = (loss(weight + step, maps) - loss(weight - step, maps)) / (2 * step)
    return {
        "weight, against unrolled": float((implicit[0] - unrolled[0]).abs() / unrolled[0].abs()),
        "weight, against central differences": float((implicit[0] - central).abs() / central.abs()),
        "sensitivities, against unrolled": float((implicit[1] - unrolled[1]).norm() / unrolled[1].norm()),
    }


def main() -> None:
    results: dict[str, Any] = {
        "operators, float64": operator_errors(torch.complex128),
        "operators, float32": operator_errors(torch.complex64),
        "implicit gradient, float64": gradient_errors(),
    }
    view = Table(title="Relative errors")
    view.add_column("what")
    view.add_column("error", justify="right")
    for group, errors in results.items():
        for name, error in errors.items():
            view.add_row(f"{group}: {name}", f"{error:.1e}")
    Console(width=130).print(view)
    print(write_record("numerics", results))


if __name__ == "__main__":
    main()
