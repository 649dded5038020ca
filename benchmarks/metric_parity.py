"""Our conventions of metrics against each toolkit's own functions, on the same arrays.

    python -m benchmarks.metric_parity --direct DIR --atommic DIR --cmrxrecon DIR --cmrxrecon-2025 DIR

The folders are checkouts of NKI-AI/direct, wdika/atommic, CmrxRecon/CMRxRecon and CmrxRecon/CMRxRecon2025-snippets
(2024 and 2025); fastmri is the installed package. Writes results/metric_parity.json, whose values the
tests compare with.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.record import write_record
from laminar.evaluation import CONVENTIONS

Volume = NDArray[np.float32]


def volumes() -> dict[str, tuple[Volume, Volume]]:
    """Predictions and references (slice, y, x): noise, a wrong gain and an offset; two sizes and units."""
    random = np.random.default_rng(7)
    found = {}
    for name, shape, unit in (("small", (3, 40, 33), 1.0), ("units of a scanner", (2, 64, 48), 3e-4)):
        y, x = (np.linspace(-1, 1, n) for n in shape[1:])
        disc = np.clip(1.2 - np.hypot(y[:, None], 1.3 * x), 0, None) * (1 + 0.4 * np.sin(9 * x + 4 * y[:, None]))
        truth = np.stack([disc * (1 + index) for index in range(shape[0])])
        image = np.abs(0.97 * truth + 0.03 * random.standard_normal(shape) + 0.01)
        found[name] = ((unit * image).astype(np.float32), (unit * truth).astype(np.float32))
    return found


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path}: not a module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _theirs(args: argparse.Namespace) -> dict[str, Any]:
    """By convention a function of prediction and reference that calls the original."""
    from fastmri import evaluate

    direct = _module(args.direct / "direct/functionals/challenges.py")
    atommic = _module(args.atommic / "atommic/collections/reconstruction/metrics/reconstruction_metrics.py")

    def cmrxrecon(path: Path) -> Any:
        module = _module(path)

        def score(image: Volume, truth: Volume) -> dict[str, float]:
            last = [np.moveaxis(v, 0, -1)[:, :, None] for v in (image, truth)]
            return dict(zip(("psnr", "ssim", "nmse"), (float(v.mean()) for v in module.calmetric(*last)), strict=True))

        return score

    return {
        "fastmri": lambda p, t: {m: float(np.squeeze(getattr(evaluate, m)(t, p))) for m in ("psnr", "ssim", "nmse")},
        "calgary-campinas": lambda p, t: {
            m: float(getattr(direct, f"calgary_campinas_{m}")(t[:, None], p[:, None])) for m in ("psnr", "ssim")
        },
        "cmrxrecon-2023": cmrxrecon(args.cmrxrecon / "Evaluation/Evaluation.py"),
        "cmrxrecon-2024": cmrxrecon(args.cmrxrecon_2025 / "evaluation-2024/Evaluation.py"),
        "cmrxrecon-2025": cmrxrecon(args.cmrxrecon_2025 / "evaluation-2025/Evaluation.py"),
        "atommic": lambda p, t: {m: float(getattr(atommic, m)(t, p)) for m in ("psnr", "ssim", "nmse")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("direct", "atommic", "cmrxrecon", "cmrxrecon-2025"):
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="DIR")
    values = {}
    for convention, theirs in _theirs(parser.parse_args()).items():
        values[convention] = {}
        for name, (image, truth) in volumes().items():
            ours = CONVENTIONS[convention].score(torch.from_numpy(image), torch.from_numpy(truth)).volume
            golden = theirs(image, truth)
            values[convention][name] = {m: {"theirs": v, "ours": ours[m]} for m, v in golden.items()}
            print(convention, name, values[convention][name])
    write_record("metric_parity", {"command": "python -m benchmarks.metric_parity", "conventions": values})


if __name__ == "__main__":
    main()
