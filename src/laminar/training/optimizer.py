"""The optimizers: Adam, and Muon for the convolutions with Adam for everything else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from laminar.training.config import OptimizerConfig

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration of Jordan et al.
_MATCH = 0.2  # root mean square of an update of Adam, to which those of Muon are brought


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """The configured optimizer of all parameters that require a gradient.

    Each group has a `rate`, by which the learning rate is multiplied: `config.coefficient_rate` for the coefficients of
    cascades, one number each, and 1 for everything else.
    """
    groups: dict[tuple[float, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = config.coefficient_rate if name.startswith("coefficients.") else 1.0
            groups.setdefault((rate, config.kind == "muon" and parameter.ndim > 2), []).append(parameter)
    parts = [{"params": found, "rate": rate, "muon": muon} for (rate, muon), found in groups.items()]
    if config.kind == "adam":
        return torch.optim.Adam(parts, lr=config.learning_rate)
    return Muon(parts, config.learning_rate)


class Muon(torch.optim.Optimizer):
    """Adam, and for groups with `muon` set the orthogonalized momentum of their kernels as matrices (out, in * y * x).

        m <- 0.95 m + 0.05 g,   w <- w - lr * 0.2 sqrt(max(out, in)) * U V^T   with U S V^T = g + 0.95 (m - g)

    up to the accuracy of five Newton-Schulz steps; kernels of one shape take them together, for on a GPU it is the
    launches that cost. Sources: arXiv 1412.6980; Jordan et al. 2024,
    https://kellerjordan.github.io/posts/muon; arXiv 2502.16982 for the scale.
    """

    def __init__(self, parameters: Iterable[dict[str, Any]], learning_rate: float) -> None:
        super().__init__(parameters, {"lr": learning_rate, "muon": False, "rate": 1.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Change every parameter that has a gradient."""
        for group in self.param_groups:
            found = [(parameter, parameter.grad) for parameter in group["params"] if parameter.grad is not None]
            if not group["muon"]:
                for parameter, gradient in found:
                    parameter.add_(self._adam(parameter, gradient), alpha=-group["lr"])
                continue
            for alike in _alike(found):
                for (parameter, _), change in zip(alike, self._muon(alike), strict=True):
                    parameter.add_(change, alpha=-group["lr"])

    def _adam(self, parameter: Tensor, gradient: Tensor) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        step = float(state["step"])
        mean = state["mean"].lerp_(gradient, 0.1) / (1 - 0.9**step)
        square = state["square"].mul_(0.999).addcmul_(gradient, gradient, value=0.001) / (1 - 0.999**step)
        change: Tensor = mean / (square.sqrt() + 1e-8)
        return change

    def _muon(self, alike: list[tuple[Tensor, Tensor]]) -> Tensor:
        """The changes (parameter, ...) of parameters of one shape."""
        matrices = []
        for parameter, gradient in alike:
            state = self.state[parameter]
            if not state:
                state["mean"] = torch.zeros_like(parameter)
            mean = state["mean"].lerp_(gradient, 0.05)
            matrices.append(gradient.lerp(mean, 0.95).reshape(len(gradient), -1))
        changes = orthogonalized(torch.stack(matrices)) * _MATCH * math.sqrt(max(matrices[0].shape))
        return changes.reshape(len(alike), *alike[0][0].shape)


def _alike(found: list[tuple[Tensor, Tensor]]) -> list[list[tuple[Tensor, Tensor]]]:
    """Parameters with their gradients, those together that can be stacked."""
    groups: dict[tuple[torch.Size, torch.dtype, torch.device], list[tuple[Tensor, Tensor]]] = {}
    for parameter, gradient in found:
        groups.setdefault((parameter.shape, parameter.dtype, parameter.device), []).append((parameter, gradient))
    return list(groups.values())


def orthogonalized(matrix: Tensor, steps: int = 5) -> Tensor:
    """About `U V^T` of real matrices `U S V^T` (..., m, n): singular values come to between 0.7 and 1.2."""
    a, b, c = _COEFFICIENTS
    x = matrix / (matrix.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    found: Tensor = x.mT if tall else x
    return found
