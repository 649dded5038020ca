"""Settings of a training run from YAML files and dotted options; an unknown one is an error that names the nearest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from laminar.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from laminar.models import ModelConfig
    from laminar.training.config import TrainConfig


class Settings:
    """The parser of TrainConfig for one kind of model, with what suits it and its preset as defaults."""

    def __init__(self, model: ModelConfig, preset: str | None = None) -> None:
        try:
            from jsonargparse import ArgumentParser
        except ImportError as error:
            raise MissingExtraError("jsonargparse", "train") from error
        from laminar.training.config import TrainConfig, without_meaning

        self._kind, self._without_meaning = type(model).__name__.removesuffix("Config"), without_meaning(model)
        defaults = asdict(TrainConfig.suited(model, preset))
        self._parser: ArgumentParser = ArgumentParser(prog="laminar train", exit_on_error=False, allow_abbrev=False)
        self._parser.add_argument("--config", action="config", help="a YAML file with settings")
        self._parser.add_argument("--preset", default=preset, help="what `laminar train --preset` was")
        # A union of models is beyond the parser: it gets the one that is trained.
        self._parser.add_class_arguments(type(model), "model")
        self._parser.add_class_arguments(TrainConfig, as_group=False, skip={"model", *self._without_meaning})
        known = set(self._parser.get_defaults().keys())
        self._parser.set_defaults({name: value for name, value in flattened(defaults).items() if name in known})

    @classmethod
    def of_preset(cls, name: str | None, arguments: Sequence[str]) -> Settings:
        """For the preset of a name, or the one that a file among the options records, or flat.

        A training that starts from a checkpoint has its model, and its preset if no other is named. Raises ConfigError.
        """
        from laminar.models import preset

        files = [_values_in(file) for file in named_files(arguments)]
        recorded = {found for values in files if isinstance(found := values.get("preset"), str)}
        if name is not None and recorded - {name}:
            raise ConfigError(f"--preset {name}, but --config is of the preset {', '.join(recorded)}: leave one out")
        chosen = name or next(iter(recorded), None)
        start = [found for values in files if isinstance(found := values.get("start"), str)]
        start += values_of("--start", arguments)
        if start:
            model, before = _begun(start[-1])
            if chosen in (None, before):
                return cls(model, before)
        chosen = chosen or "flat"
        return cls(preset(chosen), chosen)

    def parse(self, arguments: Sequence[str]) -> TrainConfig:
        """TrainConfig from options such as `--config FILE` and `--model.n_cascades 6`. Raises ConfigError."""
        from laminar.training.config import TrainConfig

        values: dict[str, Any] = vars(self._parser.instantiate(self._namespace(arguments)))
        for name in ("config", "preset"):
            values.pop(name, None)
        return TrainConfig(**values)

    def parse_values(self, values: dict[str, Any]) -> TrainConfig:
        """TrainConfig from nested settings, as a YAML file holds them. Raises ConfigError."""
        from jsonargparse import ArgumentError

        from laminar.training.config import TrainConfig

        try:
            found = vars(self._parser.instantiate(self._parser.parse_object(values)))
        except (ArgumentError, TypeError, ValueError) as error:
            raise ConfigError(self._explain(" ".join(str(error).split()))) from error
        for name in ("config", "preset"):
            found.pop(name, None)
        return TrainConfig(**found)

    def dump(self, arguments: Sequence[str], comments: bool = False) -> str:
        """The resolved settings as YAML, readable by `--config`; with `comments`, what each one means."""
        namespace = self._namespace(arguments)
        namespace.pop("config", None)
        text: str = self._parser.dump(namespace, with_comments=comments)
        return text

    def _namespace(self, arguments: Sequence[str]) -> Namespace:
        from jsonargparse import ArgumentError

        try:
            return self._parser.parse_args(list(arguments))
        except (ArgumentError, TypeError, ValueError) as error:
            raise ConfigError(self._explain(" ".join(str(error).split()))) from error

    def _explain(self, message: str) -> str:
        """Say which setting is nearest to an unknown one; leave other messages as they are."""
        from laminar.registry import nearest

        pair = re.search(r'Parser key "([\w.]+)":.*<class .tuple.>.*?Got value: (\S+)', message)
        if pair is not None:
            value = pair[2].strip("'")
            return f"setting {pair[1]!r} is a range of two numbers, such as '[{value}, {value}]'; got {value}"
        one = re.search(r'Parser key "([\w.]+)":.*<class .list.>.*?Got value: (\S+)', message)
        if one is not None:
            return f"setting {one[1]!r} is a list, such as '[{one[2]}]'; got {one[2]}"
        unknown = re.search(r"(?:[Uu]nrecognized arguments:|does not accept option|Option) '?-*([\w.]+)", message)
        if unknown is None:
            return message
        group = re.search(r"Group '([\w.]+)'", message)
        name = f"{group[1]}.{unknown[1]}" if group and not unknown[1].startswith(group[1]) else unknown[1]
        if name.split(".")[0] in self._without_meaning:
            return f"setting {name!r} means nothing for a {self._kind}"
        valid = [key for key in self._parser.get_defaults().keys() if key != "config"]  # noqa: SIM118
        return f"unknown setting {name!r}{nearest(name, valid)}"


def named_files(arguments: Sequence[str]) -> list[str]:
    """The values of --config among options."""
    return values_of("--config", arguments)


def values_of(name: str, arguments: Sequence[str]) -> list[str]:
    """The values of an option, as `--NAME VALUE` or `--NAME=VALUE`."""
    words = [word for text in arguments for word in (text.split("=", 1) if text.startswith(f"{name}=") else [text])]
    return [value for option, value in pairwise(words) if option == name]


def _begun(start: str) -> tuple[ModelConfig, str | None]:
    """The configuration of the model in a checkpoint, and the preset that it was trained with, if it is recorded."""
    import yaml

    from laminar.models.checkpoint import configuration, find, read_settings

    settings = read_settings(find(start))
    card = settings.get("card") or {}
    text = card.get("config.yaml") or (card.get("trained") or {}).get("config.yaml") or ""
    values = yaml.safe_load(text)
    return configuration(settings), values.get("preset") if isinstance(values, dict) else None


def _values_in(path: str) -> dict[str, Any]:
    """What a file of settings holds; what is wrong with the file, its parser says."""
    import yaml

    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return values if isinstance(values, dict) else {}


def flattened(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flattened(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found
