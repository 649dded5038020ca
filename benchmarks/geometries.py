"""Every geometry in one table: the best of the classical methods, an unrolled network with free weights, and FLAT.

    python -m benchmarks.geometries [--only NAME ..] [--steps 500] [--batch 2] [--matrix 96] [--images 6]
                                    [--spiral FILE] [--shipped]

Simulated phantoms that no training saw. A classical method has the best weight of a grid on one more phantom. Both
networks have the same size, data and steps, and the same loss, of decibels. FLAT takes its steps and weights from a
schedule that is learned but stays one, as in the model that ships, the other has a weight of each cascade. `--spiral`
adds the measured spiral: a quarter of its interleaves against all of them, with the networks of radial scans. Off the
grid the model that ships stands beside them, which has seen grids alone. Rows of an earlier run on the same test
images stay, each with the steps of its networks; `--shipped` measures a new model that ships in them, and trains none.
The default budget is some ten minutes a network on one core, of a thousand images: it shows that each geometry is
learned, not what a trained network is worth. A picture of each task, and a movie, go to docs/images.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.record import RESULTS, write_record
from laminar.data.acquisition import Measured
from laminar.data.acquisition.file import measure_phantom
from laminar.data.cases import Case
from laminar.data.config import SimulationConfig
from laminar.data.formats import stream_off_grid
from laminar.data.preparation import Problem, noise_std_of, prepare
from laminar.figures import movie
from laminar.figures.pixels import gray, white_level
from laminar.figures.sheet import Sheet
from laminar.geometry import NonCartesian
from laminar.methods import Method, open_method
from laminar.metrics import psnr, ssim
from laminar.models import RegularizerConfig, UnrolledConfig, build
from laminar.runtime import keep_freed_memory
from laminar.scan import Scan
from laminar.training.config import DataConfig, OptimizerConfig, TrainConfig
from laminar.training.data import make_data
from laminar.training.loop import make_fabric, train
from laminar.training.objectives import ObjectiveConfig
from laminar.training.state import RunFolder

Solve = Callable[[Problem], Tensor]
RADIAL = "radial, 32 spokes"
TASKS: dict[str, tuple[str, dict[str, float]]] = {
    "cine, R = 8": ("cine", {"frames": 8, "acceleration": 8, "calibration_lines": 4}),
    RADIAL: ("radial", {"spokes": 32}),
    "CT, 60 views": ("ct", {"views": 60}),
    "CT, low dose": ("ct", {"views": 90, "photons": 2e3}),
    "PET counts": ("pet", {}),
    "deblurring": ("deblurring", {}),
}
WEIGHTS = (0.0005, 0.002, 0.01, 0.05, 0.2, 0.8, 3.2)
GRIDS: dict[str, tuple[str, tuple[float, ...]]] = {
    "cine": ("low-rank", WEIGHTS),
    "ct": ("filtered-back-projection", ()),
    "pet": ("expectation-maximization", (4, 8, 16, 32)),
    "radial": ("cg-sense", (1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1)),
    "deblurring": ("cg-sense", (0.0003, 0.003, 0.03)),
}
KNOBS = {"expectation-maximization": "iterations"}
COILS, NOISE_STD, SEED = 4, 0.01, 10**6
SPIRAL = "spiral, 15 of 60 arms, measured"
SHIPPED = "default, as it ships"
FIELD, INTERLEAVES = (420, 420), 60
"""Of the measured spiral: the matrix that holds all of the object."""
IMAGES = RESULTS.parent / "docs" / "images"
SHORT = {"filtered-back-projection": "filtered BP", "expectation-maximization": "MLEM"}
SCHEDULE = [1.0, 0.35, 0.12, 0.04, 0.0]
"""Four cascades, each of which goes two thirds of the way."""


def phantoms(kind: str, settings: dict[str, float], side: int, count: int) -> Iterator[tuple[Measured, Case]]:
    acquisition = DataConfig(geometry=kind, geometry_settings=settings).acquisition
    assert acquisition is not None
    anatomy = "cardiac" if kind == "cine" else "brain"
    for index in range(count):
        measured = measure_phantom(acquisition, anatomy, (side, side), COILS, NOISE_STD, SEED, index)
        yield measured, measured.case()


def classical(name: str, weight: float | None) -> Solve:
    settings = {} if weight is None else {KNOBS.get(name, "weight"): weight}
    return by(open_method(name, settings=settings))


def shipped() -> Solve:
    return by(open_method(model="default"))


def by(method: Method) -> Solve:
    return lambda problem: method(problem).image


def scores(image: Tensor, target: Tensor) -> tuple[float, float]:
    a, b = (x.abs().flatten(0, -3) for x in (image, target))
    return float(psnr(a, b, float(b.max()))), float(ssim(a, b, float(b.max())))


def measure(solve: Solve, cases: list[Case]) -> dict[str, float]:
    found, started = [], time.perf_counter()
    with torch.no_grad():
        found = [scores(solve(case.problem), case.image) for case in cases]
    seconds = (time.perf_counter() - started) / len(cases)
    quality, similarity = (sum(values) / len(values) for values in zip(*found, strict=True))
    return {"psnr": quality, "ssim": similarity, "seconds": seconds}


def best(name: str, grid: tuple[float, ...], tuning: list[Case], cases: list[Case]) -> tuple[Solve, dict[str, Any]]:
    """A classical method with the weight that is best on the tuning image."""
    chosen = max(grid, key=lambda w: measure(classical(name, w), tuning)["psnr"]) if grid else None
    solve = classical(name, chosen)
    return solve, {"weight": chosen, **measure(solve, cases)}


def network(kind: str, settings: dict[str, float], flat: bool, args: argparse.Namespace) -> tuple[Solve, float]:
    """A small network after so many steps, and the seconds of its training."""
    torch.manual_seed(0)
    model = UnrolledConfig(
        n_cascades=len(SCHEDULE) - 1,
        coefficients="free",
        source_iterations=30,
        cg_iterations=12,
        regularizer=RegularizerConfig(channels=[32, 48, 64], fold=2),
    )
    if flat:
        model = model.changed(coefficients="learned", schedule="list", schedule_times=SCHEDULE)
    anatomy = "cardiac" if kind == "cine" else "brain"
    simulation = SimulationConfig(
        anatomy, [(args.matrix, args.matrix)], coils=(COILS, COILS), noise_std=(NOISE_STD / 2, 2 * NOISE_STD)
    )
    data = DataConfig(
        simulation=simulation,
        geometry=kind,
        geometry_settings=settings,
        batch_size=args.batch,
        validation_batches=1,
        workers=0,
    )
    config = TrainConfig(
        model=model,
        objective=ObjectiveConfig(image_norm="db", alignment=0.0),
        optimizer=OptimizerConfig(kind="muon", learning_rate=3e-3, warmup=20, clip=1.0),
        data=data,
        steps=args.steps,
        validate_every=args.steps,
        accelerator="cpu",
    )
    learned = build(config.model)
    stream, validation = make_data(config)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        train(make_fabric(config), learned, stream, validation, config, RunFolder(Path(folder) / "run"))
    learned.eval()
    return lambda p: learned.trajectory(p.y, p.operator, p.noise_level).image, time.perf_counter() - started


def solve_all(
    kind: str, settings: dict[str, float], args: argparse.Namespace
) -> tuple[dict[str, Any], list[Tensor], dict[str, Solve]]:
    """One row of the table, the images of the last phantom, the reference first, and the methods."""
    tuning, *cases = (case for _, case in phantoms(kind, settings, args.matrix, args.images + 1))
    row: dict[str, Any] = {"steps": args.steps, "batch": args.batch}
    solves: dict[str, Solve] = {"back-projection": lambda p: p.operator.adjoint(p.y)}
    special, grid = GRIDS[kind]
    for name, weights in {special: grid, "total-variation": WEIGHTS}.items():
        solves[name], row[name] = best(name, weights, [tuning], cases)
    for name, flat in {"unrolled, free": False, "FLAT": True}.items():
        solves[name], seconds = network(kind, settings, flat, args)
        row[name] = {"training_seconds": seconds, **measure(solves[name], cases)}
    if kind == "radial":
        solves[SHIPPED] = shipped()
        row[SHIPPED] = measure(solves[SHIPPED], cases)
    rivals = [row[name]["psnr"] for name in (special, "total-variation")]
    row["FLAT - best classical (dB)"] = row["FLAT"]["psnr"] - max(rivals)
    with torch.no_grad():
        pictures = [cases[-1].image, *(solve(cases[-1].problem) for solve in solves.values())]
    return row, [picture[0].abs() for picture in pictures], solves


def spiral_case(path: Path) -> Case:
    """The measured spiral: 15 of 60 interleaves, and CG-SENSE of all, both calibrated from all.

    At a third of its resolution, which is what a processor does in a minute.
    """
    whole = stream_off_grid(path, f"{path}:k", FIELD, "data").whole()
    points = whole.geometry
    assert isinstance(points, NonCartesian)
    matrix = (FIELD[0] // 3, FIELD[1] // 3)
    inside = (points.trajectory.abs() <= torch.tensor(matrix) / 2).all(1)
    arms = (torch.arange(len(inside)) % INTERLEAVES)[inside]
    data, trajectory = whole.data[..., inside], points.trajectory[inside]
    noise = noise_std_of(whole)
    full = prepare(Scan(data, NonCartesian(trajectory, matrix), noise_std=noise))
    reference = open_method("cg-sense", settings={"weight": 0.01})(full).image * full.scale[:, None, None]
    maps = full.operator.operator.sensitivities  # type: ignore[attr-defined]
    part = NonCartesian(trajectory[arms % 4 == 0].contiguous(), matrix)
    problem = prepare(Scan(data[..., arms % 4 == 0], part, maps, noise))
    return Case(problem, reference / problem.scale[:, None, None])


def spiral(case: Case, solves: dict[str, Solve], budget: dict[str, Any]) -> dict[str, Any]:
    """Its row of the table."""
    row = dict(budget)
    for name, grid in {"cg-sense": GRIDS["radial"][1], "total-variation": WEIGHTS[1:]}.items():
        row[name] = max(({"weight": w, **measure(classical(name, w), [case])} for w in grid), key=lambda r: r["psnr"])
    row |= {name: measure(solve, [case]) for name, solve in solves.items()}
    row["FLAT - best classical (dB)"] = row["FLAT"]["psnr"] - max(
        row[n]["psnr"] for n in ("cg-sense", "total-variation")
    )
    return row


def kept(path: Path | None, tested: dict[str, int]) -> dict[str, Any]:
    """The rows of an earlier run on the same test images."""
    file = path or RESULTS / "geometries.json"
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return dict(before["rows"]) if before.get("tested") == tested else {}


def draw(task: str, methods: list[str], images: list[Tensor]) -> Path:
    """The reference and every method in a row; of a series the second frame."""
    shown = [(image[1] if image.ndim == 3 else image).numpy() for image in images]
    sheet, white = Sheet(shown[0].shape, headers=(True,), columns=len(shown)), white_level(shown[0])
    for column, (name, image) in enumerate(zip([task, *methods], shown, strict=True)):
        sheet.image(0, column, gray(image, white), SHORT.get(name, name))
    path = IMAGES / f"geometry_{re.sub(r'[^a-z0-9]+', '_', task.lower())}.png"
    sheet.save(path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(TASKS), metavar="TASK", help=", ".join(TASKS))
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--matrix", type=int, default=96)
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--spiral", type=Path)
    parser.add_argument("--shipped", action="store_true", help="the model that ships alone, in rows that are there")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    keep_freed_memory()
    tested = {"matrix": args.matrix, "images": args.images}
    rows = kept(args.out, tested)
    if args.shipped:
        _, *cases = (case for _, case in phantoms(*TASKS[RADIAL], args.matrix, args.images + 1))
        rows[RADIAL][SHIPPED] = measure(shipped(), cases)
        if args.spiral is not None:
            rows[SPIRAL][SHIPPED] = measure(shipped(), [spiral_case(args.spiral)])
        print(write_record("geometries", {"tested": tested, "rows": rows}, args.out))
        return
    learned: dict[str, dict[str, Solve]] = {}
    for name in args.only:
        rows[name], images, learned[name] = solve_all(*TASKS[name], args)
        draw(name, list(learned[name]), images)
        print(name, {k: round(v["psnr"], 2) if isinstance(v, dict) else v for k, v in rows[name].items()}, flush=True)
        write_record("geometries", {"tested": tested, "rows": rows}, args.out)
        if images[0].ndim == 3:
            movie(torch.cat([images[0], images[1], images[3], images[5]], -1), IMAGES / "cine.gif")
    if args.spiral is not None:
        solves = learned.get(RADIAL) or solve_all(*TASKS[RADIAL], args)[-1]
        nets = {name: solves[name] for name in ("unrolled, free", "FLAT", SHIPPED)}
        rows[SPIRAL] = spiral(spiral_case(args.spiral), nets, {"steps": args.steps, "batch": args.batch})
        write_record("geometries", {"tested": tested, "rows": rows}, args.out)


if __name__ == "__main__":
    main()
