"""Settings of a training run from YAML files and dotted options; an unknown one is an error that names the nearest."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from laminar.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from laminar.training.config import TrainConfig


class Settings:
    """The parser of TrainConfig, with the defaults of a preset's network."""

    def __init__(self, preset_name: str) -> None:
        try:
            from jsonargparse import ArgumentParser
        except ImportError as error:
            raise MissingExtraError("jsonargparse", "train") from error
        from laminar.models import preset
        from laminar.training.config import TrainConfig

        self._parser: ArgumentParser = ArgumentParser(prog="laminar train", exit_on_error=False, allow_abbrev=False)
        self._parser.add_argument("--config", action="config", help="a YAML file with settings")
        self._parser.add_class_arguments(TrainConfig, as_group=False)
        model = asdict(preset(preset_name))
        regularizer = {f"model.regularizer.{key}": value for key, value in model.pop("regularizer").items()}
        self._parser.set_defaults({f"model.{key}": value for key, value in model.items()} | regularizer)

    def parse(self, arguments: list[str]) -> TrainConfig:
        """TrainConfig from options such as `--config FILE` and `--model.n_cascades 6`. Raises ConfigError."""
        from laminar.training.config import TrainConfig

        values: dict[str, Any] = vars(self._parser.instantiate(self._namespace(arguments)))
        values.pop("config", None)
        return TrainConfig(**values)

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
        valid = [key for key in self._parser.get_defaults().keys() if key != "config"]  # noqa: SIM118
        return f"unknown setting {name!r}{nearest(name, valid)}"
