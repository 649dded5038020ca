"""`laminar train`: train any configured network, or a prior, on endless simulation or on files."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from laminar.cli.methods import add_regularizer
from laminar.cli.outputs import check_output, is_part
from laminar.cli.progress import progress
from laminar.cli.scans import ArrayOptions, add_array_options
from laminar.errors import ConfigError
from laminar.registry import GEOMETRIES, PRESETS

if TYPE_CHECKING:
    from laminar.models import ModelConfig
    from laminar.training.config import TrainConfig
    from laminar.training.loop import Outcome
    from laminar.training.state import RunFolder

CHANGEABLE = ("steps", "validate_every", "accelerator", "threads", "data.workers")
"""Settings that a run may be resumed with other values of."""

_EPILOG = """every setting can be given as --NAME VALUE, dotted where it is nested:
  laminar train --out runs/mine --preset flat --steps 4000 --model.n_cascades 6 --objective.alignment 0.1
  laminar train --out runs/mine --config mine.yaml --data.kind files --data.train '[scans/]'
  laminar train --out runs/ct --geometry ct --data.geometry_settings '{"views": 60}'
  laminar train --out runs/mine --resume
  laminar train --out runs/prior --preset prior
  laminar train --print_config     all settings with their defaults and meaning, as YAML"""


@dataclass(frozen=True)
class Options:
    out: Path | None
    preset: str | None
    regularizer: str | None
    resume: bool
    overwrite: bool
    print_config: bool
    settings: tuple[str, ...]
    geometry: str | None
    source: ArrayOptions

    @property
    def given(self) -> list[str]:
        """All settings of the training."""
        own = None if self.regularizer is None else "custom"
        read = asdict(self.source) | {"select": json.dumps(self.source.select) if self.source.select else None}
        options = [("--data.geometry", self.geometry), ("--model.regularizer.kind", own)]
        options += [(f"--data.{name}", value) for name, value in read.items()]
        return [*self.settings, *(word for name, value in options if value for word in (name, value))]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "train",
        help="train a network on simulation (no data needed) or on files",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run folder")
    parser.add_argument("--preset", metavar="NAME", help=f"{' | '.join(PRESETS)} (default: flat)")
    add_regularizer(parser)
    parser.add_argument("--geometry", choices=GEOMETRIES, help="what is simulated: short for --data.geometry")
    add_array_options(parser.add_argument_group("how scan files are read, short for --data.variable and so on"))
    parser.add_argument("--resume", action="store_true", help="continue the run in --out exactly where it stopped")
    parser.add_argument("--overwrite", action="store_true", help="replace the run that --out holds, after a first step")
    parser.add_argument("--print_config", action="store_true", help="print the resolved settings and stop")
    parser.set_defaults(run=run, options=Options, settings=[])


def run(options: Options) -> int:
    from laminar.runtime import leads
    from laminar.training.settings import Settings
    from laminar.training.state import RunFolder

    if options.print_config:
        print(Settings.of_preset(options.preset, options.given).dump(options.given, comments=True), end="")
        return 0
    if options.out is None:
        raise ConfigError("train needs --out DIR, the folder for its results")
    folder = RunFolder(options.out)
    with folder.held() if leads() else nullcontext():
        given = ["--config", str(folder.config), *options.given] if options.resume else options.given
        settings = Settings(_resumed(folder.last)) if options.resume else Settings.of_preset(options.preset, given)
        config = settings.parse(given)
        if options.resume and options.given:
            _check_resumed(settings.parse(given[:2]), config)
        if not options.resume and leads():
            _check_loss(folder, config, options)
        return _train(config, settings.dump(given), folder, options)


def _check_resumed(before: TrainConfig, config: TrainConfig) -> None:
    """Raise ConfigError if a resumed run would not be the run that was started."""
    from laminar.training.settings import flattened

    old, new = (flattened(asdict(each)) for each in (before, config))
    changed = sorted(name for name in new if new[name] != old.get(name) and name not in CHANGEABLE)
    if changed:
        raise ConfigError(
            f"a run is resumed as it was started: {changed[0]} was {old.get(changed[0])!r}, now {new[changed[0]]!r}; "
            f"only {', '.join(CHANGEABLE)} may change; --start begins a new run from its weights"
        )


def _resumed(last: Path) -> ModelConfig:
    """The configuration of the model in the checkpoint `last`."""
    from laminar.models.checkpoint import configuration, read_settings

    if not last.is_dir():
        raise ConfigError(f"nothing to resume in {last.parent}: it has no checkpoint 'last'")
    return configuration(read_settings(last))


def _check_loss(folder: RunFolder, config: TrainConfig, options: Options) -> None:
    """Raise ConfigError if a new run would destroy an old one, or what it is made of itself."""
    from laminar.training.settings import named_files

    if folder.is_a_run() and not options.overwrite:
        raise ConfigError(f"{options.out} holds a run already: --resume continues it, --overwrite replaces it")
    named: list[str | None] = [*named_files(options.settings)]
    named += [*config.data.train, *config.data.validation, config.start, config.reference.teacher]
    inputs = [Path(name) for name in named if name is not None]
    for part in folder.parts:
        if is_part(part, inputs):
            raise ConfigError(f"{part} is an input of this command: choose another --out")
    check_output(folder.config, inputs, options.overwrite)


def _train(config: TrainConfig, text: str, folder: RunFolder, options: Options) -> int:
    import torch

    from laminar.methods import open_regularizer
    from laminar.models import started
    from laminar.runtime import keep_freed_memory
    from laminar.training.data import make_data
    from laminar.training.loop import make_fabric, train

    keep_freed_memory()
    fabric = make_fabric(config)
    torch.manual_seed(config.seed)
    own = None if options.regularizer is None else open_regularizer(options.regularizer)
    model = started(config.model, config.start, own)
    stream, validation = make_data(config)
    card: dict[str, Any] = {"command": "laminar train --config config.yaml --out DIR", "config.yaml": text}
    with _progress(config, quiet=not fabric.is_global_zero) as report:
        outcome = train(
            fabric,
            model,
            stream,
            validation,
            config,
            folder,
            resume=options.resume,
            card=card,
            report=report,
        )
    if fabric.is_global_zero:
        _say(outcome, folder.path, config.steps)
    return 130 if outcome.interrupted else 0


@contextmanager
def _progress(config: TrainConfig, *, quiet: bool) -> Iterator[Callable[[int, dict[str, float]], None]]:
    """One bar with rate, time left and a running mean of the loss."""
    with progress("training", config.steps, quiet=quiet) as report:
        mean: list[float] = []

        def tell(step: int, losses: dict[str, float]) -> None:
            mean.append(losses["loss"])
            del mean[:-50]
            report(step, f"loss {sum(mean) / len(mean):.4f}")

        yield tell


def _say(outcome: Outcome, out: Path, steps: int) -> None:
    print(f"{'interrupted' if outcome.interrupted else 'finished'} at step {outcome.step} of {steps}")
    if outcome.validation:
        print(_said(outcome.validation))
    if outcome.interrupted:
        print(f"continue with: laminar train --out {out} --resume")
    print(f"results: {out}/best and {out}/last (checkpoints), {out}/metrics.jsonl, {out}/config.yaml")


def _said(scores: dict[str, Any]) -> str:
    """The scores of a network, with or without images, or those of a prior, which has noise levels and no cascades."""
    if "psnr_per_cascade" in scores:
        cascades = " ".join(f"{value:.2f}" for value in scores["psnr_per_cascade"])
        quality = f"validation: PSNR {scores['psnr']:.2f} dB, SSIM {scores['ssim']:.4f}"
        return f"{quality}\nPSNR from the source through the cascades: {cascades}"
    if "noise_levels" not in scores:
        return f"validation: loss on samples held out {scores['loss']:.4f}"
    pairs = zip(scores["noise_levels"], scores["psnr_per_level"], strict=True)
    denoised = ", ".join(f"{quality:.2f} at {level:.3g}" for level, quality in pairs)
    return f"validation: loss {scores['loss']:.4f}\nPSNR of the denoised image, in dB at a noise level: {denoised}"
