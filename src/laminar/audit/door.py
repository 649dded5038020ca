"""What a model on the command line is, as a subject."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path
from typing import Any

from torch import nn

from laminar.audit.fastmri_varnet import load_varnet, of_varnet, refuse_pickle
from laminar.audit.subject import Subject, as_subject, of_network
from laminar.errors import ConfigError
from laminar.models import UnrolledNetwork
from laminar.models.checkpoint import find, load, read_settings

_NAMED = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def open_subject(model: str, *, fastmri: bool = False) -> Subject:
    """A checkpoint folder or shipped model, `package.module:name`, or with `fastmri` a state dict of its VarNet.

    A name stands for a subject, or for a function without arguments that makes one. Raises LaminarError.
    """
    path = Path(model)
    if fastmri:
        return load_varnet(path)
    if _NAMED.fullmatch(model) and not path.exists():
        return _named(model)
    if path.is_file():
        refuse_pickle(path)
        raise ConfigError(
            f"{model}: expected a checkpoint folder; a state dict of the fastmri package's VarNet needs --fastmri"
        )
    folder = find(model)
    network = load(folder)
    if isinstance(network, UnrolledNetwork):
        return of_network(network, folder.name, read_settings(folder)["sha256"])
    return as_subject(network, folder.name)


def subject_of(thing: Any, name: str | None = None) -> Subject:
    """Any object that can be audited as a subject: ours, a VarNet of the fastmri package, or one of the protocol."""
    if isinstance(thing, nn.Module) and hasattr(thing, "sens_net") and hasattr(thing, "cascades"):
        return of_varnet(thing, name or "fastmri VarNet")
    return as_subject(thing, name)


def _named(model: str) -> Subject:
    module_name, _, attribute = model.partition(":")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` does
    try:
        thing: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            thing = getattr(thing, part)
        if callable(thing) and not isinstance(thing, nn.Module) and _takes_nothing(thing):
            thing = thing()
    except (Exception, SystemExit) as error:  # the code of others may raise anything
        raise ConfigError(f"{model}: cannot be imported: {type(error).__name__}: {error}") from error
    return subject_of(thing, None if getattr(thing, "name", None) else attribute)


def _takes_nothing(function: Any) -> bool:
    """Whether a callable can be called without arguments, and hence makes a subject and is none."""
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):
        return False
    return True
