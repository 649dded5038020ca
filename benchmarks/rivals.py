"""What a network is compared with: classical methods over grids of weights, on one scan after the other.

CG-SENSE, L1-wavelet and total variation get, for each row of a table and each metric, the weight of their grid that is
best on the mean over the row: an oracle's choice, which nobody has who scans a patient. BART's `pics -l1` is an
outsider with a grid of its own where the program `bart` is installed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.record import RESULTS, mean_interval
from laminar import __version__
from laminar.classical import cg_sense_method, l1_wavelet_method, total_variation_method, zero_filled
from laminar.data.cropping import center_crop
from laminar.data.formats.bart import load
from laminar.data.preparation import Problem, prepare, without_oversampling
from laminar.flow import Trajectory
from laminar.methods import Method
from laminar.metrics import fastmri_metrics
from laminar.scan import Scan

Solve = Callable[[Problem], Trajectory]
Scores = dict[str, dict[str, float]]
"""Metrics of every method on one scan; a classical one at a weight is called `CG-SENSE 0.01`."""

METRICS = {"psnr": max, "object_psnr": max, "ssim": max, "nmse": min}
OURS = "FLAT"
_SPARSE = (0.02, 0.05, 0.1, 0.15, 0.25, 0.4, 0.8)
_ALIASING = 0.005  # the unit of a weight is that of `l1_wavelet_method`


def bart_l1_method(problem: Problem, weight: float = 0.15) -> Trajectory:
    """BART's `pics -R W:3:0`, slice by slice; the unit of `weight` is that of `l1_wavelet_method`."""
    images = []
    for y, maps, level in zip(problem.y, problem.encoding.sensitivities, problem.noise_level, strict=True):
        penalty = weight * (float(level) ** 2 + _ALIASING**2) ** 0.5
        with tempfile.TemporaryDirectory() as folder:
            _write_bart(Path(folder) / "kspace", y)
            _write_bart(Path(folder) / "maps", maps)
            command = [
                "bart",
                "pics",
                "-S",
                "-w",
                "1",
                "-R",
                f"W:3:0:{penalty}",
                "-i",
                "100",
                "kspace",
                "maps",
                "image",
            ]
            subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
            array = load(Path(folder) / "image")
        images.append(torch.from_numpy(array.reshape(array.shape[:2]).copy()))
    image = torch.stack(images)
    return Trajectory([zero_filled(problem.y, problem.operator), image], [image], None, nfe=0)


def _write_bart(path: Path, coils: Tensor) -> None:
    """(coil, y, x) as a BART pair of files of axes (y, x, 1, coil)."""
    array = coils.permute(1, 2, 0).unsqueeze(2).numpy()
    path.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, array.shape)) + "\n", encoding="ascii")
    array.astype("<c8").ravel(order="F").tofile(path.with_suffix(".cfl"))


GRIDS: dict[str, tuple[Callable[..., Trajectory], tuple[float, ...]]] = {
    "CG-SENSE": (cg_sense_method, (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)),
    "L1-wavelet": (l1_wavelet_method, _SPARSE),
    "total variation": (total_variation_method, _SPARSE),
}
BART = "BART pics -l1"


def over_grids(*names: str, quick: bool = False, bart: bool = False) -> dict[str, Solve]:
    """The classical methods of these names, or all, at every weight of their grid; at three if it is `quick`."""
    grids = {name: GRIDS[name] for name in names or GRIDS}
    if bart and shutil.which("bart"):
        grids[BART] = bart_l1_method, _SPARSE
    elif bart:
        print("no program 'bart' is installed: BART's pics is left out")
    return {
        f"{name} {weight:g}": partial(method, weight=weight)
        for name, (method, weights) in grids.items()
        for weight in (weights[2:5] if quick else weights)
    }


def at_best_weights(rows: Iterable[Any] | None, methods: Mapping[str, Solve], **where: Any) -> dict[str, Solve]:
    """Of methods over grids, those at a weight that was best by any metric in a recorded row; all if `rows` is None.

    With `where`, rows of these values alone.
    """
    if rows is None:
        return dict(methods)
    best = {
        f"{name.removesuffix(' weight')} {weight:g}"
        for row in rows
        if isinstance(row, dict) and where.items() <= row.items()  # a text says why the row failed
        for name, weights in row.items()
        if name.endswith(" weight")
        for weight in weights.values()
    }
    return {name: method for name, method in methods.items() if family(name) == name or name in best}


def earlier(record: Path) -> Any:
    """What a benchmark wrote."""
    return json.loads(record.read_text(encoding="utf-8"))


@torch.no_grad()
def solved(problem: Problem, methods: Mapping[str, Solve]) -> dict[str, Tensor]:
    """The complex images (slice, y, x) of a problem, in its units."""
    return {name: method(problem).image for name, method in methods.items()}


def images(scan: Scan, methods: Mapping[str, Solve]) -> dict[str, Tensor]:
    """Magnitudes (slice, y, x) as `laminar.reconstruct` gives them; maps and noise are estimated once for all."""
    part = without_oversampling(scan)
    problem = prepare(part)
    scale = problem.scale[:, None, None]
    return {
        name: center_crop(image * scale, part.image_shape).abs() for name, image in solved(problem, methods).items()
    }


def scored(found: Mapping[str, Tensor], reference: Tensor) -> Scores:
    """The metrics of magnitudes against a reference (slice, y, x)."""
    return {name: fastmri_metrics(image, reference) for name, image in found.items()}


class ScoreBook:
    """Scores of one scan after the other in a file of JSON lines, for benchmarks that take an hour.

    What stands there is not computed again: an interrupted benchmark goes on, and another model costs its own images
    alone. A network is known by its fingerprint, a classical method by its name, weight and the version of laminar:
    where the code of one has changed, or of what comes before it, delete the file.
    """

    def __init__(self, path: Path | None) -> None:
        self.path, self.known = path, dict[str, dict[str, dict[str, float]]]()
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                with suppress(json.JSONDecodeError):  # of a line that was not finished
                    self.known |= json.loads(line)

    def scores(
        self, place: str, methods: Mapping[str, Solve], compute: Callable[[Mapping[str, Solve]], dict[str, Scores]]
    ) -> dict[str, Scores]:
        """`{reference: metrics of every method}` of the scan called `place`; `compute` gives those not known yet."""
        keys = {name: f"{place} | {name} | {_identity(method)}" for name, method in methods.items()}
        missing = {name: method for name, method in methods.items() if keys[name] not in self.known}
        if missing:
            found = compute(missing)
            self._add({keys[name]: {kind: scores[name] for kind, scores in found.items()} for name in missing})
        kinds = self.known[next(iter(keys.values()))]
        return {kind: {name: self.known[key][kind] for name, key in keys.items()} for kind in kinds}

    def _add(self, entries: dict[str, dict[str, dict[str, float]]]) -> None:
        self.known |= entries
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entries) + "\n")


def _identity(method: Solve) -> str:
    return (method.fingerprint if isinstance(method, Method) else None) or f"laminar {__version__}"


def family(name: str) -> str:
    """`CG-SENSE` of `CG-SENSE 0.01`, and the name itself where there is no grid."""
    start = name.rpartition(" ")[0]
    return start if start in (*GRIDS, BART) else name


def best_names(mean: Scores, metric: str) -> dict[str, str]:
    """For each family the member that is best by a metric."""
    better, best = METRICS[metric], dict[str, str]()
    for name in mean:
        rival = best.get(family(name), name)
        best[family(name)] = better(rival, name, key=lambda one: mean[one][metric])
    return best


def settled(row: Sequence[Scores]) -> dict[str, Any]:
    """A row of a table, of scans or masks that belong together: means at the best weights, and what ours is better by.

    Each family of methods has its means, `FAMILY weight` the weight for each metric, `FLAT - FAMILY (dB)` the paired
    difference in PSNR with its bootstrap interval and `FLAT - FAMILY, object (dB)` that inside the object;
    `FLAT - best, object (dB)` is the difference to the classical family that is best inside the object on the mean.
    """
    mean = {name: {m: sum(one[name][m] for one in row) / len(row) for m in METRICS} for name in row[0]}
    best = {metric: best_names(mean, metric) for metric in METRICS}
    entry: dict[str, Any] = {f: {m: mean[best[m][f]][m] for m in METRICS} for f in best["psnr"]}
    for name in list(entry):
        if name in (*GRIDS, BART):
            entry[f"{name} weight"] = {m: float(best[m][name].rpartition(" ")[2]) for m in METRICS}
        if name != OURS and OURS in entry:
            entry[f"{OURS} - {name} (dB)"] = _gain(row, best["psnr"][name], "psnr")
            entry[f"{OURS} - {name}, object (dB)"] = _gain(row, best["object_psnr"][name], "object_psnr")
    rivals = [name for name in best["psnr"] if name in GRIDS]
    if rivals and OURS in entry:
        first = max(rivals, key=lambda name: entry[name]["object_psnr"])
        entry["best"] = first
        entry[f"{OURS} - best, object (dB)"] = entry[f"{OURS} - {first}, object (dB)"]
    return entry


def _gain(row: Sequence[Scores], rival: str, metric: str) -> dict[str, float]:
    differences = [one[OURS][metric] - one[rival][metric] for one in row]
    return dict(zip(("mean", "low", "high"), mean_interval(differences), strict=True))


def options(description: str | None, name: str, corpus: bool = True, weights: bool = False) -> argparse.ArgumentParser:
    """The options that these benchmarks share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if corpus:
        parser.add_argument("--corpus", type=Path, default=Path("../shared/data/corpus/validation.h5"))
    if weights:
        parser.add_argument("--weights", type=Path, help="a record of this benchmark whose best weights are taken")
    parser.add_argument("--model", default="default")
    parser.add_argument("--quick", action="store_true", help="a small part of it, to see that it runs")
    parser.add_argument("--out", type=Path, default=RESULTS / f"{name}.json")
    parser.add_argument(
        "--scores", type=Path, default=Path("build") / "scores" / f"{name}.jsonl", help="what was scored already"
    )
    return parser
