"""`laminar openrecon-package`: what makes a container image of the server a package of OpenRecon."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from laminar.cli.outputs import add_overwrite, check_outputs
from laminar.errors import ConfigError, printable


@dataclass(frozen=True)
class Options:
    out: Path
    models: tuple[str, ...]
    gpu: bool
    base: str
    image: Path | None
    manual: Path | None
    overwrite: bool


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "openrecon-package",
        help="describe the server to an OpenRecon host, and pack it",
        description="Write the metadata (JSON) and the container file that adds them to an image as a label; with "
        "--image and --manual, the zip that the host installs. No image is built. docs/scanner.md",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the files")
    parser.add_argument("--model", action="append", dest="models", default=[], metavar="NAME", help=_MODEL)
    parser.add_argument("--gpu", action="store_true", help="the image can use a GPU")
    parser.add_argument("--base", default="laminar", metavar="IMAGE", help="of container/Dockerfile (default: laminar)")
    parser.add_argument("--image", type=Path, metavar="TAR", help="the labeled image, as the engine saves it")
    parser.add_argument("--manual", type=Path, metavar="PDF", help="what the host shows of it")
    add_overwrite(parser)
    parser.set_defaults(run=run, options=Options)


_MODEL = "a model that ships, to offer; may be repeated (default: default)"


def run(options: Options) -> int:
    from laminar.files import replacing, write_json
    from laminar.server.openrecon import base_name, dockerfile, metadata, write_package

    told = metadata(options.models or ("default",), gpu=options.gpu)
    outputs = [options.out / name for name in ("OpenReconLabel.json", "Dockerfile", f"{base_name()}.zip")]
    check_outputs(options, *outputs)
    if (options.image is None) != (options.manual is None):
        raise ConfigError("the zip holds both: give --image and --manual, or neither")
    write_json(outputs[0], told)
    with replacing(outputs[1]) as temporary:
        temporary.write_text(dockerfile(told, options.base), encoding="utf-8")
    if options.image is not None and options.manual is not None:
        write_package(outputs[2], options.image, options.manual)
        print(printable(f"written to {outputs[2]}"))
    else:
        print(printable(f"written to {options.out}/: OpenReconLabel.json and Dockerfile"))
    return 0
