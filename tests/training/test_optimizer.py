"""Muon: the directions of its momentum alone, of each kernel by itself."""

from __future__ import annotations

import torch
from torch import nn

from laminar.training.config import OptimizerConfig
from laminar.training.optimizer import make_optimizer, orthogonalized


def test_singular_values_come_near_one_and_vectors_stay() -> None:
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(3, 6, 9, generator=generator, dtype=torch.float64)
    for many in (matrices, matrices.mT):
        found = orthogonalized(many)
        u, _, v = torch.linalg.svd(many, full_matrices=False)
        values = (u.mT @ found @ v.mT).diagonal(dim1=-2, dim2=-1)
        assert 0.6 < float(values.min()) <= float(values.max()) < 1.3
        torch.testing.assert_close(u @ torch.diag_embed(values) @ v, found)


def test_kernels_of_one_shape_change_as_each_would_alone() -> None:
    """Three steps of two kernels that are taken together, beside each in an optimizer of its own; biases go by Adam."""
    torch.manual_seed(0)
    together = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 2, 1))
    apart = [nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 2, 1)]
    config = OptimizerConfig(kind="muon", learning_rate=0.01)
    optimizers = [make_optimizer(model, config) for model in (together, *apart)]
    for single, layer in zip(apart, together, strict=True):
        single.load_state_dict(layer.state_dict())
    for _ in range(3):
        for single, layer in zip(apart, together, strict=True):
            for p, q in zip(layer.parameters(), single.parameters(), strict=True):
                p.grad = torch.randn_like(p)
                q.grad = p.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for single, layer in zip(apart, together, strict=True):
        torch.testing.assert_close(single.weight, layer.weight)
        torch.testing.assert_close(single.bias, layer.bias)
