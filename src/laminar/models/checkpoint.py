"""Checkpoints: a folder with weights (safetensors) and their settings and card (JSON). No pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from laminar.errors import CheckpointError, ConfigError
from laminar.files import replacing
from laminar.models.config import UnrolledConfig, VarNetConfig
from laminar.models.fastmri_weights import read_fastmri
from laminar.models.presets import ModelConfig, preset
from laminar.models.prior import Prior, PriorConfig
from laminar.models.unrolled import UnrolledNetwork
from laminar.models.varnet import VarNet
from laminar.registry import nearest

MODEL_VERSION = 1
WEIGHTS, SETTINGS = "model.safetensors", "model.json"

Network = UnrolledNetwork | VarNet
Model = Network | Prior


class Kind(NamedTuple):
    """A kind of model: its settings, and what makes it of them as the keyword `config`."""

    config: type[ModelConfig]
    model: Callable[..., Model]


MODEL_KINDS = {
    "laminar-unrolled-network": Kind(UnrolledConfig, UnrolledNetwork),
    "laminar-varnet": Kind(VarNetConfig, VarNet),
    "laminar-prior": Kind(PriorConfig, Prior),
}


def build(config: ModelConfig | str, regularizer: nn.Module | None = None, **settings: Any) -> Model:
    """The untrained model of a configuration, or of a preset by its name, with `settings` changed.

    `regularizer` is the module of a user's own, for an unrolled network. Raises ConfigError.
    """
    config = (preset(config) if isinstance(config, str) else config).changed(**settings)
    if isinstance(config, UnrolledConfig):
        return UnrolledNetwork(regularizer, config)
    if regularizer is not None:
        raise ConfigError(f"a regularizer is part of an unrolled network; got one with a {type(config).__name__}")
    return MODEL_KINDS[_format(config)].model(config=config)


def started(config: ModelConfig, start: str | Path | None, regularizer: nn.Module | None = None) -> Model:
    """The model of a configuration, with the weights of the checkpoint `start` if one is named.

    `regularizer` is the module of a user's own, if the configuration has one. Raises CheckpointError if the checkpoint
    is of another configuration.
    """
    if start is None:
        return build(config, regularizer)
    with torch.random.fork_rng(devices=[]):  # the weights are drawn before they are filled
        model = build(config, regularizer)
    fill(model, start)
    return model


def fill(model: Model, checkpoint: str | Path) -> None:
    """Give `model` the weights of a checkpoint, which may have been trained for another geometry.

    Raises CheckpointError if that is of another configuration.
    """
    folder = find(checkpoint)
    settings = read_settings(folder)
    there, here = asdict(configuration(settings)), asdict(model.config)
    if changed := [name for name in here if name != "geometry" and here[name] != there.get(name)]:
        raise CheckpointError(f"{checkpoint} is of another configuration than the model to train: {', '.join(changed)}")
    _fill(model, read_weights(folder, settings), folder)


def _format(config: ModelConfig) -> str:
    return next(name for name, kind in MODEL_KINDS.items() if isinstance(config, kind.config))


def save(
    model: Model, folder: str | Path, card: Mapping[str, Any] | None = None, dtype: torch.dtype | None = None
) -> None:
    """Write `model` and its card to `folder`, whole or not at all. Same model, same bytes.

    `dtype` is the one that the weights are stored in, such as float16 for half the size; None keeps theirs. A model
    that is loaded computes in single precision in any case.
    """
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    weights = save_tensors({name: tensor.to(dtype or tensor.dtype).contiguous() for name, tensor in state.items()})
    config = asdict(model.config)
    settings = {
        "format": _format(model.config),
        "version": MODEL_VERSION,
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


def load(model: str | Path = "default", regularizer: nn.Module | None = None) -> Network:
    """The network of a checkpoint folder, or the one that ships under the name `default`, ready for inference.

    A .safetensors file holds the weights of a VarNet of the `fastmri` package.

    A network around a user's own module needs that module again as `regularizer`. Raises CheckpointError if
    the folder is incomplete, was changed after it was written, holds another configuration, or a prior.
    """
    if Path(model).is_file():
        return _with_fastmri_weights(Path(model))
    network = load_any(model, regularizer)
    if isinstance(network, Prior):
        raise CheckpointError(f"{model} is a prior and no network: --method dds --prior {model}, or load_prior")
    return network


def _with_fastmri_weights(path: Path) -> VarNet:
    try:
        return VarNet.from_fastmri(read_fastmri(path)).float().eval()
    except CheckpointError as error:
        raise error if str(path) in str(error) else CheckpointError(f"{path}: {error}") from None


def load_prior(model: str | Path = "prior") -> Prior:
    """The prior of a checkpoint folder, or one that ships, ready for inference. Raises CheckpointError as `load`."""
    prior = load_any(model)
    if not isinstance(prior, Prior):
        raise CheckpointError(f"{model} is a network and no prior: --model {model}, or load")
    return prior


def load_any(model: str | Path, regularizer: nn.Module | None = None) -> Model:
    """The model of a checkpoint folder, whatever its kind."""
    folder = find(model)
    settings = read_settings(folder)
    weights = read_weights(folder, settings)
    try:
        with torch.random.fork_rng(devices=[]):  # the weights are drawn before they are filled
            loaded = build(configuration(settings), regularizer)
    except (ConfigError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{folder / SETTINGS}: the configuration is not valid: {error}") from error
    _fill(loaded, weights, folder)
    return loaded.eval()


def configuration(settings: Mapping[str, Any]) -> ModelConfig:
    """The configuration in what `read_settings` returns. Raises ConfigError if it is not valid."""
    try:
        return MODEL_KINDS[settings["format"]].config.from_dict(settings["config"])
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ConfigError(f"no settings of a model: {type(error).__name__}: {error}") from error


def find(model: str | Path) -> Path:
    """The folder of a model given by path or by the name of one that ships. Raises CheckpointError."""
    shipped = Path(str(files("laminar"))) / "weights"
    folder = Path(model)
    if not (folder / SETTINGS).exists() and (shipped / str(model) / SETTINGS).exists():
        folder = shipped / str(model)  # a folder of that name that holds no model does not hide it
    if (folder / "best" / SETTINGS).exists() and not (folder / SETTINGS).exists():
        raise CheckpointError(f"{folder} is the folder of a training run: name its checkpoint {folder / 'best'}")
    if not folder.is_dir():
        names = sorted(path.name for path in shipped.iterdir()) if shipped.is_dir() else []
        raise CheckpointError(
            f"no model {str(model)!r}: expected a checkpoint folder with {SETTINGS} and {WEIGHTS}, "
            f"or one that ships{nearest(str(model), names) if names else ': none'}"
        )
    return folder


def read_settings(folder: Path) -> dict[str, Any]:
    """Format, configuration, checksum and card of a checkpoint folder."""
    path = folder / SETTINGS
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read as a model: {error}") from error
    if not isinstance(settings, dict) or str(settings.get("format")) not in MODEL_KINDS:
        raise CheckpointError(f"{path}: expected a file of format {' or '.join(MODEL_KINDS)}")
    kinds = {"config": dict, "card": dict, "sha256": str}
    if wrong := [key for key, kind in kinds.items() if not isinstance(settings.get(key), kind)]:
        raise CheckpointError(
            f"{path}: {wrong[0]} must be a {kinds[wrong[0]].__name__}; got {settings.get(wrong[0])!r:.60}"
        )
    if settings.get("version") != MODEL_VERSION:
        raise CheckpointError(f"{path}: expected version {MODEL_VERSION}; got {settings.get('version')!r}")
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


def _fill(model: Model, weights: Mapping[str, Tensor], folder: Path) -> None:
    expected = model.state_dict()
    wrong = sorted(expected.keys() ^ weights.keys()) or [
        name for name, tensor in expected.items() if tensor.shape != weights[name].shape
    ]
    if wrong:
        raise CheckpointError(f"{folder}: the weights are of another configuration; first difference at {wrong[0]!r}")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in weights.values()):
        raise CheckpointError(f"{folder}: the weights hold NaN or Inf")
    model.load_state_dict(weights)
