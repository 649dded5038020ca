"""Less memory in training for more time: activations that are computed again instead of kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch.utils.checkpoint import checkpoint

Result = TypeVar("Result")


def kept(function: Callable[..., Result], *arguments: object, recompute: bool) -> Result:
    """`function(*arguments)`; to `recompute`, its activations are not kept but computed again in the backward pass."""
    if not (recompute and torch.is_grad_enabled()):
        return function(*arguments)
    result: Result = checkpoint(function, *arguments, use_reentrant=False)
    return result
