"""The one door to every method: by name, by checkpoint, by import, or from an object that is one."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from laminar.errors import CheckpointError, ConfigError
from laminar.methods.foreign import CallableMethod
from laminar.methods.method import Method
from laminar.methods.named import DEFAULT_NFE, classical_method, sampler_method
from laminar.methods.networks import NetworkMethod
from laminar.models import Network, UnrolledNetwork, VarNet, load, load_prior
from laminar.registry import CLASSICAL, METHODS, SAMPLERS, nearest
from laminar.samplers import Number

_IMPORTED = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def open_method(
    name: str = "network",
    *,
    model: str | None = None,
    regularizer: str | None = None,
    prior: str | None = None,
    nfe: int | None = None,
    settings: Mapping[str, Number] | None = None,
) -> Method:
    """The method of a name: `network`, one of `registry.CLASSICAL`, or one of `registry.SAMPLERS`.

    `model` and `regularizer` are what `open_model` takes, `prior` the checkpoint of a sampler's prior (default: those
    that ship), `nfe` the network evaluations a sampler may make for an image. `settings` are fields of the sampler, or
    keywords of the classical method. Raises ConfigError for a name or setting that does not exist, or that this method
    has no use for, and CheckpointError.
    """
    given = {"model": model, "regularizer": regularizer, "prior": prior, "nfe": nfe, "settings": settings or None}
    if name == "network":
        _refuse(name, given, "model", "regularizer")
        return open_model(model or "default", regularizer)
    if name in CLASSICAL:
        _refuse(name, given, "settings")
        return classical_method(name, settings)
    if name in SAMPLERS:
        _refuse(name, given, "prior", "nfe", "settings")
        return sampler_method(name, load_prior(prior or "prior"), DEFAULT_NFE if nfe is None else nfe, settings)
    raise ConfigError(f"unknown method {name!r}{nearest(name, METHODS)}")


def open_model(model: str, regularizer: str | None = None) -> Method:
    """A checkpoint folder, a model that ships, the weights of a fastmri VarNet (.safetensors), or `module:name`.

    The name in a module stands for anything that `as_method` takes, or for a function without arguments that makes
    it. `regularizer`, too, is a `module:name`: the one of the user's own that a checkpoint was trained with. Raises
    LaminarError.
    """
    path = Path(model)
    if _IMPORTED.fullmatch(model) and not path.exists():
        if regularizer is not None:
            raise ConfigError(f"regularizer {regularizer!r} belongs to a checkpoint; got the model {model}")
        thing = _imported(model)
        return as_method(thing, None if getattr(thing, "name", None) else model.partition(":")[2])
    return NetworkMethod(load_with(path, regularizer), path.stem if path.is_file() else path.name)


def load_with(model: str | Path, regularizer: str | None) -> Network:
    """`models.load`, with a regularizer by its `module:name` where one is named. Raises LaminarError."""
    return load(model, None if regularizer is None else open_regularizer(regularizer))


def open_regularizer(name: str) -> nn.Module:
    """The `R(x, t)` that `module:name` stands for: a module, or a class or function without arguments that makes it.

    Raises ConfigError.
    """
    if not _IMPORTED.fullmatch(name):
        raise ConfigError(f"a regularizer is named module:Class, such as mypackage.networks:Mine; got {name!r}")
    thing = _imported(name)
    if not isinstance(thing, nn.Module):
        raise ConfigError(f"{name}: expected a torch.nn.Module R(x, t), or what makes it; got {type(thing).__name__}")
    return thing


def as_method(thing: Any, name: str | None = None) -> Method:
    """A method or its name, a network of ours, a VarNet of the fastmri package, or a callable, as a `Method`.

    A name is one of `open_method`, or else what `open_model` takes. Raises ConfigError for anything else.
    """
    if isinstance(thing, Method):
        return thing
    if isinstance(thing, str):
        return open_method(thing) if thing in METHODS else _named_model(thing)
    if isinstance(thing, nn.Module) and hasattr(thing, "sens_net") and hasattr(thing, "cascades"):
        return NetworkMethod(VarNet.from_fastmri(thing.state_dict()).float(), name or "fastmri VarNet")
    if isinstance(thing, UnrolledNetwork | VarNet):
        return NetworkMethod(thing, name or "network")
    if not callable(thing):
        raise ConfigError(f"a method is a callable of a Problem; got {type(thing).__name__}")
    own = getattr(thing, "name", None) or getattr(thing, "__name__", type(thing).__name__)
    return CallableMethod(thing, str(name or own))


def _named_model(name: str) -> Method:
    """What `open_model` opens; a name that is none is no method either, which the error says."""
    try:
        return open_model(name)
    except CheckpointError as error:
        if Path(name).exists():
            raise
        raise CheckpointError(f"{error}; methods are {', '.join(METHODS)}") from None


def _imported(name: str) -> Any:
    """What `module:name` stands for; what can be called without arguments is called."""
    module_name, _, attribute = name.partition(":")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` does
    try:
        thing: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            thing = getattr(thing, part)
        if callable(thing) and not isinstance(thing, nn.Module | Method) and _takes_nothing(thing):
            thing = thing()
    except (Exception, SystemExit) as error:  # the code of others may raise anything
        raise ConfigError(f"{name}: cannot be imported: {type(error).__name__}: {error}") from error
    return thing


def _takes_nothing(function: Any) -> bool:
    """Whether a callable can be called without arguments, and hence makes a method and is none."""
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):
        return False
    return True


_OF = {
    "settings": ": classical methods and samplers have settings, and a name, such as l1-wavelet",
    "nfe": ": samplers take it, such as dds",
}


def _refuse(name: str, given: Mapping[str, Any], *used: str) -> None:
    for key, value in given.items():
        if value is not None and key not in used:
            raise ConfigError(f"{key} {value!r} does nothing with method {name!r}{_OF.get(key, '')}")
