"""The VarNet of the `fastmri` package as a subject: a walk through its own modules.

Its states are multi-coil k-space `k`; the audit looks at the coil-combined image `S^H F^-1 k` with the problem's own
sensitivities, not at the root sum of squares that the package returns. A change `d` of that image is taken back as
`k + F S d`. It has no endpoints, no times, and no lam_k, so no coefficients are stated. arXiv 2004.06688.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from laminar.audit.subject import Subject, n_parameters
from laminar.data.preparation import Problem
from laminar.errors import CheckpointError, ConfigError
from laminar.flow import Trajectory
from laminar.methods import fingerprint
from laminar.operators import fft2c, ifft2c

NOTES = (
    "States are multi-coil k-space; what is audited is the coil-combined image S^H F^-1 k with the problem's "
    "sensitivities, not the root sum of squares that the package returns.",
    "The package expects phase encoding along the last axis, and counts the low-frequency lines from the mask itself.",
    "An edit d of the image enters k-space as F S d with the problem's sensitivities.",
)
_FIRST = "down_sample_layers.0.layers.0.weight"
_PICKLED = (".pt", ".pth", ".ckpt", ".bin", ".pkl")


def of_varnet(module: nn.Module, name: str = "fastmri VarNet", sha256: str | None = None) -> Subject:
    """A `fastmri.models.VarNet` as a subject. Raises ConfigError if the module has no sens_net and cascades."""
    if not (hasattr(module, "sens_net") and hasattr(module, "cascades")):
        raise ConfigError(
            f"expected a VarNet of the fastmri package, with sens_net and cascades; got {type(module).__name__}"
        )
    walk = _Walk(module.eval())
    return Subject(
        solve=walk,
        name=name,
        description=f"VarNet of the fastmri package (E2E-VarNet), {len(walk.cascades)} cascades in k-space",
        kind="fastmri-varnet",
        keywords=frozenset({"edit", "n_cascades"}),
        sha256=sha256 or fingerprint(module),
        parameters=n_parameters(module),
        notes=NOTES,
    )


class _Walk:
    """From cascade to cascade, as the module's own forward goes, with every state seen on the way."""

    def __init__(self, module: nn.Module) -> None:
        self.sens_net: Any = module.sens_net
        self.cascades: list[Any] = list(module.cascades)  # type: ignore[arg-type]

    def __call__(
        self, problem: Problem, *, edit: Callable[[int, Tensor], Tensor] | None = None, n_cascades: int | None = None
    ) -> Trajectory:
        mask = line_mask(problem)
        measured = torch.view_as_real(problem.y)
        maps = self.sens_net(measured, mask)
        depth = n_cascades or len(self.cascades)
        kspace, states = problem.y, list[Tensor]()
        for k in range(depth + 1):
            state = combine(kspace, problem)
            if edit is not None:
                changed = edit(k, state)
                kspace = kspace + fft2c(problem.encoding.sensitivities * (changed - state)[:, None])
                state = changed
            states.append(state)
            if k < depth:
                cascade = self.cascades[min(k, len(self.cascades) - 1)]
                kspace = torch.view_as_complex(cascade(torch.view_as_real(kspace), measured, mask, maps).contiguous())
        return Trajectory(states, [], None, depth)


def combine(kspace: Tensor, problem: Problem) -> Tensor:
    """`S^H F^-1 k`, complex (batch, y, x)."""
    return (problem.encoding.sensitivities.conj() * ifft2c(kspace)).sum(1)


def line_mask(problem: Problem) -> Tensor:
    """The mask as the package wants it, (batch, 1, 1, x, 1). Raises ConfigError unless it consists of columns."""
    lines = problem.encoding.mask[:, :1]
    if not bool((problem.encoding.mask == lines).all()):
        raise ConfigError(
            "the VarNet of the fastmri package needs phase encoding along the last axis: a mask of whole columns; "
            "this one differs from row to row"
        )
    if not bool(lines[..., lines.shape[-1] // 2].all()):
        raise ConfigError(
            "the VarNet of the fastmri package needs low-frequency lines; this mask lacks the central one"
        )
    return lines[:, :, None, :, None]


def load_varnet(path: str | Path) -> Subject:
    """The VarNet of a state dict in a .safetensors file; its sizes are read off the shapes.

    Raises CheckpointError for a pickled file, saying how to convert it, and for a state dict of another network;
    ConfigError without the fastmri package.
    """
    path = Path(path)
    refuse_pickle(path)
    try:
        data = path.read_bytes()
        state = load_tensors(data)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read as safetensors: {error}") from error
    return of_varnet(build_varnet(state, str(path)), path.stem, hashlib.sha256(data).hexdigest())


def refuse_pickle(path: Path) -> None:
    """CheckpointError for a file that only unpickling could read."""
    if path.suffix.lower() in _PICKLED:
        safe = path.with_suffix(".safetensors").name
        raise CheckpointError(
            f"{path}: a pickled file can run any program when it is read; where you trust it, convert it once: "
            f"python -c \"import torch, safetensors.torch as s; d = torch.load('{path.name}', map_location='cpu', "
            f"weights_only=True); s.save_file(d.get('state_dict', d), '{safe}')\""
        )


def build_varnet(state: Mapping[str, Tensor], name: str) -> nn.Module:
    """A VarNet with these weights; the names may carry the prefix `varnet.` of the package's Lightning module."""
    try:
        from fastmri.models import VarNet
    except ImportError as error:
        raise ConfigError(
            "this needs the package 'fastmri': pip install --no-deps fastmri, then pandas, requests and runstats; the "
            "torchvision that it also asks for is not needed"
        ) from error
    state = {key.removeprefix("varnet."): value for key, value in state.items() if not key.startswith("loss.")}
    sizes = _sizes(state, name)
    network: nn.Module = VarNet(**sizes)
    expected = network.state_dict()
    wrong = sorted(expected.keys() ^ state.keys()) or [k for k, v in expected.items() if v.shape != state[k].shape]
    if wrong:
        raise CheckpointError(f"{name}: not the state of a fastmri VarNet of {sizes}; first difference at {wrong[0]!r}")
    network.load_state_dict(dict(state))
    return network


def _sizes(state: Mapping[str, Tensor], name: str) -> dict[str, int]:
    """Cascades, channels and pools of the two kinds of U-Net, from the shapes."""
    sensitivity, image = "sens_net.norm_unet.unet.", "cascades.0.model.unet."
    if sensitivity + _FIRST not in state or image + _FIRST not in state:
        raise CheckpointError(
            f"{name}: not the state of a fastmri VarNet: no {sensitivity + _FIRST!r} or {image + _FIRST!r}"
        )
    cascades = {match[1] for key in state if (match := re.match(r"cascades\.(\d+)\.", key))}
    return {
        "num_cascades": len(cascades),
        "chans": len(state[image + _FIRST]),
        "pools": _pools(state, image),
        "sens_chans": len(state[sensitivity + _FIRST]),
        "sens_pools": _pools(state, sensitivity),
    }


def _pools(state: Mapping[str, Tensor], prefix: str) -> int:
    return sum(
        re.fullmatch(re.escape(prefix) + r"down_sample_layers\.\d+\.layers\.0\.weight", key) is not None
        for key in state
    )
