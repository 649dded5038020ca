"""Settings of a training run from YAML files and dotted options; an unknown one is an error that names the nearest."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from laminar.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from laminar.models import ModelConfig
    from laminar.training.config import TrainConfig


class Settings:
    """The parser of TrainConfig for one kind of model, with what suits it as defaults."""

    def __init__(self, model: ModelConfig) -> None:
        try:
            from jsonargparse import ArgumentParser
        except ImportError as error:
            raise MissingExtraError("jsonargparse", "train") from error
        from laminar.training.config import TrainConfig, without_meaning

        self._kind, self._without_meaning = type(model).__name__.removesuffix("Config"), without_meaning(model)
        defaults = asdict(TrainConfig.suited(model))
        self._parser: ArgumentParser = ArgumentParser(prog="laminar train", exit_on_error=False, allow_abbrev=False)
        self._parser.add_argument("--config", action="config", help="a YAML file with settings")
        # A union of models is beyond the parser: it gets the one that is trained.
        self._parser.add_class_arguments(type(model), "model")
        self._parser.add_class_arguments(TrainConfig, as_group=False, skip={"model", *self._without_meaning})
        known = set(self._parser.get_defaults().keys())
        self._parser.set_defaults({name: value for name, value in _leaves(defaults).items() if name in known})

    def parse(self, arguments: list[str]) -> TrainConfig:
        """TrainConfig from options such as `--config FILE` and `--model.n_cascades 6`. Raises ConfigError."""
        from laminar.training.config import TrainConfig

        values: dict[str, Any] = vars(self._parser.instantiate(self._namespace(arguments)))
        values.pop("config", None)
        return TrainConfig(**values)

    def parse_values(self, values: dict[str, Any]) -> TrainConfig:
        """TrainConfig from nested settings, as a YAML file holds them. Raises ConfigError."""
        from jsonargparse import ArgumentError

        from laminar.training.config import TrainConfig

        try:
            found = vars(self._parser.instantiate(self._parser.parse_object(values)))
        except (ArgumentError, TypeError, ValueError) as error:
            raise ConfigError(self._explain(" ".join(str(error).split()))) from error
        found.pop("config", None)
        return TrainConfig(**found)

    def dump(self, arguments: list[str], comments: bool = False) -> str:
        """The resolved settings as YAML, readable by `--config`; with `comments`, what each one means."""
        namespace = self._namespace(arguments)
        namespace.pop("config", None)
        text: str = self._parser.dump(namespace, with_comments=comments)
        return text

    def _namespace(self, arguments: list[str]) -> Namespace:
        from jsonargparse import ArgumentError

        try:
            return self._parser.parse_args(arguments)
        except (ArgumentError, TypeError, ValueError) as error:
            raise ConfigError(self._explain(" ".join(str(error).split()))) from error

    def _explain(self, message: str) -> str:
        """Say which setting is nearest to an unknown one; leave other messages as they are."""
        from laminar.models.config import nearest

        unknown = re.search(r"(?:[Uu]nrecognized arguments:|does not accept option|Option) '?-*([\w.]+)", message)
        if unknown is None:
            return message
        group = re.search(r"Group '([\w.]+)'", message)
        name = f"{group[1]}.{unknown[1]}" if group and not unknown[1].startswith(group[1]) else unknown[1]
        if name.split(".")[0] in self._without_meaning:
            return f"setting {name!r} means nothing for a {self._kind}"
        valid = [key for key in self._parser.get_defaults().keys() if key != "config"]  # noqa: SIM118
        return f"unknown setting {name!r}{nearest(name, valid)}"


def _leaves(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found
