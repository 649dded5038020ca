"""Averaged weights."""

from __future__ import annotations

import copy

import torch

from laminar.models import Model


class Average:
    """A model whose weights follow those of the one in training, `a <- d a + (1 - d) w` after every step.

    `d = min(decay, (1 + k) / (10 + k))` after step k, so that the beginning is soon forgotten. The rule is that of
    arXiv 1412.6980, section 7.2, with the growing decay of common implementations in place of a correction.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).requires_grad_(False)

    @torch.no_grad()
    def update(self, model: Model, step: int) -> None:
        """Follow `model` after step `step`, counted from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for average, weight in zip(self.model.parameters(), model.parameters(), strict=True):
            average.lerp_(weight, 1 - decay)
        for kept, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            kept.copy_(buffer)  # what a network counts, such as the statistics of a normalization, is its own mean
