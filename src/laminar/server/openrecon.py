"""The server as a package of OpenRecon: what the host must know of it, and how its files are called.

A container image carries the metadata as base64 of JSON in a label; the image, saved as a tar, and a manual in PDF lie
in a zip, all of one name. Schema 1.1.0, as it is published with the recipes of neurodesk/openrecon.
"""

from __future__ import annotations

import base64
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from laminar.errors import explaining
from laminar.files import MARK, replacing
from laminar.server.parameters import METHODS, MOST_ACCELERATION, MOST_SAMPLES, PIXELS
from laminar.version import __version__

LABEL = "com.siemens-healthineers.magneticresonance.openrecon.metadata:1.1.0"
PORT = 9002
_VENDOR, _NAME = "Laminar", "Laminar"


def metadata(models: Sequence[str], *, gpu: bool = False) -> dict[str, Any]:
    """What the host shows and sends: the parameters are those of `laminar.server.parameters.Request`."""
    return {
        "general": _general(),
        "reconstruction": {
            "transfer_protocol": {"protocol": "ISMRMRD", "version": "1.4.1"},
            "port": PORT,
            "emitter": "raw",
            "injector": "image",
            "can_process_adjustment_data": False,
            "can_use_gpu": gpu,
            "min_count_required_gpus": 0,
            "min_required_gpu_memory": 4096 if gpu else 0,
            "min_required_memory": 4096,
            "min_count_required_cpu_cores": 2,
            "content_qualification_type": "RESEARCH",
        },
        "parameters": [
            _choice("model", "Model", models, "The trained network that makes the images"),
            _choice("method", "Method", METHODS, "The network, or a classical method"),
            _choice("pixels", "Pixels", [*PIXELS[1:], PIXELS[0]], "Of the images that are sent"),
            _count(
                "samples",
                "Samples",
                MOST_SAMPLES,
                "0, or 2 and more of a model that draws them, for an uncertainty image",
            ),
            _count("acceleration", "Acceleration", int(MOST_ACCELERATION), "0, or that a full scan is undersampled to"),
        ],
    }


def _general() -> dict[str, Any]:
    return {
        "name": {"en": _NAME},
        "version": __version__,
        "vendor": _VENDOR,
        "information": {"en": "Undersampled k-space to images by an unrolled network. Not for diagnostic use."},
        "id": _NAME.lower(),
        "regulatory_information": {
            "device_trade_name": _NAME,
            "production_identifier": __version__,
            "manufacturer_address": "",
            "made_in": "",
            "manufacture_date": "",
            "material_number": f"{_NAME}_{__version__}",
            "gtin": "",
            "udi": "",
            "safety_advices": "For research: a network can remove what is there and invent what is not.",
            "special_operating_instructions": "",
            "additional_relevant_information": "",
        },
    }


def _choice(name: str, label: str, values: Sequence[str], information: str) -> dict[str, Any]:
    return {
        "id": name,
        "label": {"en": label},
        "type": "choice",
        "values": [{"id": value, "name": {"en": value}} for value in values],
        "default": values[0],
        "information": {"en": information},
    }


def _count(name: str, label: str, most: int, information: str) -> dict[str, Any]:
    return {
        "id": name,
        "label": {"en": label},
        "type": "int",
        "minimum": 0,
        "maximum": most,
        "default": 0,
        "information": {"en": information},
    }


def dockerfile(told: dict[str, Any], image: str) -> str:
    """A container file that adds the label, and what OpenRecon starts, to an image of container/Dockerfile."""
    label = base64.b64encode(json.dumps(told).encode()).decode()
    models = next(one for one in told["parameters"] if one["id"] == "model")
    chosen = [word for value in models["values"] for word in ("--model", value["id"])]
    command = json.dumps(["serve", "--host", "0.0.0.0", "--port", str(PORT), "--pixels", PIXELS[1], *chosen])
    lines = [f"FROM {image}", f'LABEL "{LABEL}"="{label}"', f"CMD {command}", "HEALTHCHECK NONE"]  # no page is served
    return "\n".join(["# laminar openrecon-package", *lines, ""])


def base_name() -> str:
    return f"OpenRecon_{_VENDOR}_{_NAME}_V{__version__}"


def write_package(path: Path, image: Path, manual: Path) -> None:
    """The zip of a saved image and a manual, under the names that the host expects. Raises LaminarError."""
    with (
        replacing(path) as temporary,
        explaining(str(path)),
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as file,
    ):
        file.comment = MARK
        file.write(image, f"{base_name()}.tar")
        file.write(manual, f"{base_name()}.pdf")
