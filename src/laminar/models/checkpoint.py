"""Checkpoints: a folder with weights (safetensors) and their settings and card (JSON). No pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from laminar.errors import CheckpointError, ConfigError
from laminar.files import replacing
from laminar.models.config import UnrolledConfig
from laminar.models.unrolled import UnrolledNetwork

FORMAT = "laminar-unrolled-network"
VERSION = 1
WEIGHTS, SETTINGS = "model.safetensors", "model.json"


def save(network: UnrolledNetwork, folder: str | Path, card: Mapping[str, Any] | None = None) -> None:
    """Write `network` and its card to `folder`, whole or not at all. Same network, same bytes."""
    weights = save_tensors({name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()})
    config = asdict(network.config)
    settings = {
        "format": FORMAT,
        "version": VERSION,
        "config": config,
        "sha256": _checksum(config, weights),
        "card": dict(card or {}),
    }
    with replacing(Path(folder)) as temporary:
        temporary.mkdir()
        (temporary / WEIGHTS).write_bytes(weights)
        (temporary / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _checksum(config: Any, weights: bytes) -> str:
    """SHA-256 of configuration and weights."""
    canonical = json.dumps(config, sort_keys=True).encode()
    return hashlib.sha256(canonical + weights).hexdigest()


def load(model: str | Path = "default", regularizer: nn.Module | None = None) -> UnrolledNetwork:
    """The network of a checkpoint folder, or the one that ships under the name `default`, ready for inference.

    A network around a user's own module needs that module again as `regularizer`. Raises CheckpointError if
    the folder is incomplete, was changed after it was written, or holds another configuration.
    """
    folder = find(model)
    settings = read_settings(folder)
    weights = read_weights(folder, settings)
    try:
        network = UnrolledNetwork(regularizer, UnrolledConfig.from_dict(settings["config"]))
    except (ConfigError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{folder / SETTINGS}: the configuration is not valid: {error}") from error
    _fill(network, weights, folder)
    return network.eval()


def find(model: str | Path) -> Path:
    """The folder of a model given by path or by the name of one that ships. Raises CheckpointError."""
    shipped = Path(str(files("laminar"))) / "weights"
    folder = Path(model)
    if not folder.exists() and (shipped / str(model)).is_dir():
        folder = shipped / str(model)
    if not folder.is_dir():
        names = sorted(path.name for path in shipped.iterdir()) if shipped.is_dir() else []
        raise CheckpointError(
            f"no model {str(model)!r}: expected a checkpoint folder with {SETTINGS} and {WEIGHTS}, "
            f"or one that ships: {', '.join(names) or 'none'}"
        )
    return folder


def read_settings(folder: Path) -> dict[str, Any]:
    """Format, configuration, checksum and card of a checkpoint folder."""
    path = folder / SETTINGS
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read as a model: {error}") from error
    if not isinstance(settings, dict) or settings.get("format") != FORMAT:
        raise CheckpointError(f"{path}: expected a file of format {FORMAT!r}")
    if settings.get("version") != VERSION:
        raise CheckpointError(f"{path}: expected version {VERSION}; got {settings.get('version')!r}")
    return settings


def read_weights(folder: Path, settings: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a checkpoint folder, if they and the configuration are those that were saved."""
    path = folder / WEIGHTS
    try:
        data = path.read_bytes()
        if _checksum(settings.get("config"), data) != settings.get("sha256"):
            raise CheckpointError(
                f"{folder}: weights or configuration are not those that were saved (checksum differs)"
            )
        return load_tensors(data)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error


def _fill(network: UnrolledNetwork, weights: Mapping[str, Tensor], folder: Path) -> None:
    expected = network.state_dict()
    wrong = sorted(expected.keys() ^ weights.keys()) or [
        name for name, tensor in expected.items() if tensor.shape != weights[name].shape
    ]
    if wrong:
        raise CheckpointError(f"{folder}: the weights are of another configuration; first difference at {wrong[0]!r}")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in weights.values()):
        raise CheckpointError(f"{folder}: the weights hold NaN or Inf")
    network.load_state_dict(weights)
