"""One cell: what a point of the grid asks for, settled to the last default, and the key of its content.

Beside the settings of `laminar train`, a point may have

    preset: NAME          the network that is trained, as of `laminar train --preset`
    method: NAME          no training, but a classical method or a sampler, with `set.KEY`, `nfe` and `prior`
    checkpoint: NAME      no training, but a network that is there
    tune: [{KEY: V}, ...] settings of a method, of which each test takes the best on two slices of its own kind
    estimate: mean | sample   of a network that samples: x0_hat at t = 1, or one sample, and not the quiet source
    average: N            the mean of N samples
    cascades: N           so many instead of the trained number: fewer stop early, more go on
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

from laminar.errors import ConfigError
from laminar.methods import Method, open_method
from laminar.models import preset
from laminar.models.checkpoint import find
from laminar.registry import METHODS, SAMPLERS, nearest
from laminar.study.grid import Point, Settings, Study, nested
from laminar.study.versions import code_version, data_version, hashed
from laminar.training.config import DataConfig, TrainConfig
from laminar.training.settings import Settings as Parser

READINGS = ("estimate", "average", "tune", "cascades")
UNTRAINED = ("method", "checkpoint", "prior", "nfe", *READINGS)
TEST = {
    **{"slices": 20, "only": "", "person": "", "samples": 0, "calibration": 40},
    **{"perturbed": 0.0, "structures": 0},
}
"""Of a test set: how many slices; regular expressions, which files or stacks and whose they are (group 1); how many
samples of methods that draw, whose intervals are judged (0: none), and of other slices that these are calibrated on;
the relative error of the sensitivities, and how many small structures are put into each slice
(`laminar.study.disturbed`)."""
ASIDE = ("workers", "train", "validation")
"""Settings of data that change no number: files count by content, wherever they lie."""


@dataclass(frozen=True)
class Cell:
    """A cell as plain values: `settings` (dotted), `tests` by name, `budget`, and the keys of all and of the training.

    Cells with one `run` share a training. `order` says in which order the training sees which data.
    """

    key: str
    run: str
    order: str
    settings: Settings
    tests: dict[str, dict[str, Any]]
    budget: dict[str, float]

    @property
    def is_trained(self) -> bool:
        return not {"method", "checkpoint"} & set(self.settings)


def cell_of(study: Study, point: Point) -> Cell:
    """The cell of a point. Raises ConfigError for a setting that does not exist or that its method cannot take."""
    settings = dict(point.settings)
    _check_count("average", settings.get("average", 1), 1)
    cell = Cell("", "", "", settings, {}, dict(study.budget))
    if cell.is_trained:
        settings["seed"] = point.seed
        config = train_config(cell)
        what: Any = {"training": _content(config), "budget": study.budget}
        files = {"train": config.data.train, "validation": config.data.validation}
        models = {"start": config.start, "teacher": config.reference.teacher}
        files |= {name: [str(find(model))] for name, model in models.items() if model is not None}
        order = hashed([_data(config.data), data_version(config.data.train), config.seed])
    else:
        what = _check_method(point)
        files = {}
        order, settings["seed"] = "", point.seed if _draws(settings) else 0
        what |= {"seed": settings["seed"]}
    tests = {name: _test(settings, name, test) for name, test in study.tests.items()}
    contents = {name: data_version(named) for name, named in files.items()}
    run = hashed([what, contents, code_version()])[:16]
    reading = {name: settings[name] for name in READINGS if name in settings}
    tested = {name: _test_content(test) for name, test in tests.items()}
    return replace(cell, key=hashed([run, reading, tested])[:16], run=run, order=order, tests=tests)


@cache
def _data_config(text: str) -> DataConfig:
    """The data of a test, which many points share."""
    return _parser("flat").parse_values(json.loads(text)).data


@cache
def _parser(name: str) -> Parser:
    """The parser of a preset's settings, made once: a grid has thousands of points."""
    return Parser(preset(name))


def train_config(cell: Cell) -> TrainConfig:
    """The configuration of a training, with the steps of its budget if that is a number of slices."""
    values = {name: value for name, value in cell.settings.items() if name not in ("preset", *READINGS)}
    config = _parser(cell.settings.get("preset", "flat")).parse_values(nested(values))
    if "slices" in cell.budget:
        config = replace(config, steps=max(1, int(cell.budget["slices"] // (config.data.batch_size * config.devices))))
    return config


def _content(config: TrainConfig) -> dict[str, Any]:
    """What of a configuration decides the numbers; `data` without what is `ASIDE`."""
    values = {"kind": type(config.model).__name__} | asdict(config) | {"data": _data(config.data)}
    return {name: value for name, value in values.items() if name not in ("threads", "start")} | {
        "reference": {k: v for k, v in asdict(config.reference).items() if k not in ("teacher", "cache")}
    }


def _data(data: DataConfig) -> dict[str, Any]:
    return {name: value for name, value in asdict(data).items() if name not in ASIDE}


def _draws(settings: Settings) -> bool:
    """Whether another seed gives another image."""
    return settings.get("method") in SAMPLERS or bool({"estimate", "average"} & set(settings))


def _check_method(point: Point) -> dict[str, Any]:
    """The content of a method that is not trained; raise ConfigError for what it cannot take."""
    name = point.settings.get("method", "network")
    if name not in METHODS:
        raise ConfigError(f"unknown method {name!r}{nearest(str(name), METHODS)}")
    for setting in sorted(point.chosen):
        if setting not in UNTRAINED and not setting.startswith(("set.", "data.")):
            raise ConfigError(f"method {name!r} is not trained: it cannot take {setting!r}")
    opened = [open_untrained(point.settings, tried) for tried in point.settings.get("tune", [{}])]
    return {"method": name, "settings": [dict(one.settings) for one in opened], "weights": opened[0].fingerprint}


def open_untrained(settings: Settings, tried: Settings | None = None) -> Method:
    """The `Method` that settings name, with some of its settings `tried` instead. Raises ConfigError."""
    own = {k.removeprefix("set."): v for k, v in settings.items() if k.startswith("set.")} | (tried or {})
    return open_method(
        settings.get("method", "network"),
        model=settings.get("checkpoint"),
        prior=settings.get("prior"),
        nfe=settings.get("nfe"),
        settings=own,
    )


def _test(settings: Settings, name: str, test: Settings) -> dict[str, Any]:
    """A test set as plain values: the point's data with the changes of the test."""
    for key in test:
        if key not in TEST and key != "files" and not key.startswith("data."):
            raise ConfigError(f"test {name!r} has no setting {key!r}: {', '.join(TEST)}, files, or one under data")
    for key, least in {"slices": 1, "samples": 0, "calibration": 1, "structures": 0}.items():
        _check_count(f"{key} of test {name!r}", test.get(key, TEST[key]), least)
    own = {k: v for k, v in settings.items() if k.startswith("data.") and k not in ("data.train", "data.validation")}
    changed = own | {k: v for k, v in test.items() if k.startswith("data.")} | {"data.batch_size": 1}
    data = _data_config(json.dumps(nested(changed)))
    data = replace(data, train=list(test.get("files", [])), distinct_batches=0)
    return TEST | {k: v for k, v in test.items() if k in TEST} | {"data": asdict(data)}


def _check_count(what: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{what} must be a whole number of at least {least}; got {value!r}")


def _test_content(test: dict[str, Any]) -> dict[str, Any]:
    data = {name: value for name, value in test["data"].items() if name not in (*ASIDE, "validation_batches")}
    return test | {"data": data, "files": data_version(test["data"]["train"])}


def data_config(values: dict[str, Any]) -> DataConfig:
    """The inverse of `dataclasses.asdict` for a DataConfig, from JSON."""
    return _parser("flat").parse_values({"data": values}).data
