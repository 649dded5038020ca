"""Weights of the VarNet of the `fastmri` package: their names, and reading them without the package or its pickles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from laminar.errors import CheckpointError

_PICKLED = (".pt", ".pth", ".ckpt", ".bin", ".pkl")


def read_fastmri(path: Path) -> dict[str, Tensor]:
    """The weights in a .safetensors file, by the names that they have in `fastmri.models.VarNet`.

    Raises CheckpointError for a pickled file, saying how to convert it.
    """
    if path.suffix.lower() in _PICKLED:
        safe = path.with_suffix(".safetensors").name
        raise CheckpointError(
            f"{path}: a pickled file can run any program when it is read; where you trust it, convert it once: "
            f"python -c \"import torch, safetensors.torch as s; d = torch.load('{path.name}', map_location='cpu', "
            f"weights_only=True); s.save_file(d.get('state_dict', d), '{safe}')\""
        )
    try:
        state = load_tensors(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path}: expected a checkpoint folder, or weights of a fastmri VarNet as safetensors: {error}"
        ) from error
    return dict(state)


def without_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a VarNet alone, which may be part of another module: `varnet.` of Lightning, `module.`, ..."""
    sign = "cascades.0.dc_weight"
    prefix = next((name.removesuffix(sign) for name in state if name.endswith(sign)), "")
    kept = {name: value for name, value in state.items() if name.startswith(prefix) and not name.startswith("loss.")}
    return {name.removeprefix(prefix): value for name, value in kept.items()}


def unet_sizes(state: Mapping[str, Tensor], unet: str) -> tuple[int, int]:
    """Channels and pools."""
    first, level = f"{unet}.down_sample_layers.0.layers.0.weight", f"{unet}.down_sample_layers."
    if first not in state:
        raise CheckpointError(f"not the weights of a fastmri VarNet: {first!r} is missing")
    return len(state[first]), len({name.removeprefix(level).split(".")[0] for name in state if name.startswith(level)})


def fastmri_names(n_cascades: int, pools: int, sensitivity_pools: int) -> dict[str, str]:
    """Our name of every weight to its name in `fastmri.models.VarNet`."""
    names = _unet_names("sensitivity", "sens_net.norm_unet.unet", sensitivity_pools)
    for k in range(n_cascades):
        names[f"data_weights.{k}"] = f"cascades.{k}.dc_weight"
        names |= _unet_names(f"cascades.{k}", f"cascades.{k}.model.unet", pools)
    return names


def _unet_names(ours: str, theirs: str, pools: int) -> dict[str, str]:
    """Levels are counted from the finest; the source counts those of the way up from the coarsest."""
    names = {f"{ours}.last.{kind}": f"{theirs}.up_conv.{pools - 1}.1.{kind}" for kind in ("weight", "bias")}
    blocks = {f"{ours}.down.{level}": f"{theirs}.down_sample_layers.{level}" for level in range(pools)}
    blocks[f"{ours}.down.{pools}"] = f"{theirs}.conv"
    for level, step in enumerate(reversed(range(pools))):
        names[f"{ours}.rise.{level}.weight"] = f"{theirs}.up_transpose_conv.{step}.layers.0.weight"
        blocks[f"{ours}.up.{level}"] = f"{theirs}.up_conv.{step}" + (".0" if level == 0 else "")
    for block, source in blocks.items():
        names |= {f"{block}.first.weight": f"{source}.layers.0.weight"}
        names |= {f"{block}.second.weight": f"{source}.layers.4.weight"}
    return names
