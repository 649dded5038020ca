"""The shipped model on measured scans against classical methods, each with the best weight of a grid.

    python -m benchmarks.measured_scans [--data DIR] [--model default] [--figures DIR] [--weights RECORD] [--quick]
                                        [--out FILE]

Each scan is undersampled retrospectively (equispaced-fraction, 14 calibration lines) along its phase axis, for every
seed. The reference is the root-sum-of-squares of all samples, with its noise (fastMRI protocol); `combined` scores the
same images against the coil-combined image with ESPIRiT maps of all samples, whose background is free of noise.
CG-SENSE, L1-wavelet, total variation and, where it is installed, BART's `pics -l1` get the weight that is best for them
on the mean over the seeds, for each scan, R, reference and metric (benchmarks/rivals.py): an oracle's choice. For
another network, `--weights` takes those weights from an earlier record instead of trying the whole grids again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.record import gain, write_record
from benchmarks.rivals import (
    BART,
    GRIDS,
    OURS,
    ScoreBook,
    Scores,
    Solve,
    at_best_weights,
    best_names,
    earlier,
    images,
    options,
    over_grids,
    scored,
    settled,
)
from laminar.classical import zero_filled_method
from laminar.data.formats import read
from laminar.data.masks import make_mask
from laminar.data.preparation import prepare
from laminar.errors import ConfigError
from laminar.figures import comparison_figure, trajectory_strip
from laminar.methods import Method, open_method
from laminar.metrics import fastmri_metrics
from laminar.operators import ifft2c
from laminar.reconstruction import reconstruct, reference_image
from laminar.runtime import keep_freed_memory
from laminar.scan import Scan

SCANS: dict[str, dict[str, str]] = {
    "brain_t1_8coil.cfl": {},
    "brain_mprage_4coil.mat": {"variable": "kData", "axes": "ky,kx,coil"},
    "brain_gre_16coil.mat": {"axes": "ky,kx,_,coil"},
}
ACCELERATIONS = (4.0, 6.0, 8.0)
SEEDS = range(5)
CALIBRATION_LINES = 14
GAINS = tuple(f"{OURS} - {name}, object (dB)" for name in GRIDS)


def combined_image(full: Scan) -> Tensor:
    """`|S^H F^(-1) y|` with maps S of all samples."""
    problem = prepare(full)
    image = (problem.encoding.sensitivities.conj() * ifft2c(problem.y)).sum(1)
    return (image * problem.scale[:, None, None]).abs()


def score(
    full: Scan, acceleration: float, methods: Mapping[str, Solve], seeds: range, book: ScoreBook, figures: Path | None
) -> dict[str, list[Scores]]:
    """`{reference: metrics of every method, a seed each}`."""
    references = {"rss": reference_image(full), "combined": combined_image(full)}
    scores: dict[str, list[Scores]] = {name: [] for name in references}
    for seed in seeds:
        mask = make_mask(
            "equispaced-fraction", full.matrix, acceleration, CALIBRATION_LINES, seed, full.grid.phase_axis
        )
        scan = full.undersample(mask)

        def compute(some: Mapping[str, Solve], scan: Scan = scan) -> dict[str, Scores]:
            found = images(scan, some)
            return {kind: scored(found, reference) for kind, reference in references.items()}

        for kind, found in book.scores(f"{full.name} R {acceleration:g} seed {seed}", methods, compute).items():
            scores[kind].append(found)
        if figures is not None and seed == 0:
            draw(figures / f"{full.name}_R{acceleration:g}", references["rss"], scores["rss"][0], scan, methods)
    return scores


def draw(stem: Path, reference: Tensor, scores: Scores, scan: Scan, methods: Mapping[str, Solve]) -> None:
    """The classical methods at the weights that are best inside the object, ours, and its way to the image."""
    best, ours = best_names(scores, "object_psnr"), methods[OURS]
    assert isinstance(ours, Method)
    found = images(scan, {name: methods[name] for name in best.values()})
    shown = {title: found[name][0] for title, name in best.items()}
    comparison_figure(
        shown,
        reference[0],
        {title: scores[best[title]] for title in shown},
        stem.with_name(f"{stem.name}.png"),
        stem.name,
    )
    states = reconstruct(scan, ours).trajectory
    assert states is not None
    psnrs = [fastmri_metrics(state.abs(), reference)["psnr"] for state in states]
    trajectory_strip(list(states[:, 0]), psnrs, stem.with_name(f"{stem.name}_trajectory.png"))


def table(results: dict[str, Any], reference: str, seeds: int) -> Table:
    view = Table(title=f"Measured scans against {reference}: PSNR / in the object (dB) / SSIM, mean over {seeds} masks")
    rows = [(scan, r, row) for scan, by_acceleration in results.items() for r, row in by_acceleration.items()]
    known = [row[reference] for _, _, row in rows if "failed" not in row]
    names = [name for name in ("zero-filled", *GRIDS, BART, OURS) if all(name in entry for entry in known)]
    for column in ("scan", "R", *names, *GAINS):
        view.add_column(column)
    for scan, acceleration, row in rows:
        if "failed" in row:
            view.add_row(scan, acceleration, row["failed"])
            continue
        entry = row[reference]
        cells = [f"{entry[m]['psnr']:.2f} / {entry[m]['object_psnr']:.2f} / {entry[m]['ssim']:.3f}" for m in names]
        gains = [gain(entry[g]) for g in GAINS]
        view.add_row(scan, acceleration, *cells, *gains)
    return view


def main() -> None:
    parser = options(__doc__, "measured_scans", corpus=False, weights=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/raw"))
    parser.add_argument("--figures", type=Path)
    args = parser.parse_args()
    keep_freed_memory()
    methods: dict[str, Solve] = {"zero-filled": zero_filled_method, **over_grids(quick=args.quick, bart=True)}
    methods[OURS] = open_method(model=args.model)
    seeds, results, book = SEEDS[:1] if args.quick else SEEDS, dict[str, Any](), ScoreBook(args.scores)
    known = earlier(args.weights)["results"] if args.weights else None
    for file, how in list(SCANS.items())[-1:] if args.quick else SCANS.items():
        full = read(args.data / file, variable=how.get("variable"), axes=how.get("axes"))
        rows = results.setdefault(full.name, {})
        for acceleration in ACCELERATIONS:
            before = known[full.name][f"{acceleration:g}"].values() if known else None
            some = at_best_weights(before, methods)
            try:
                scores = score(full, acceleration, some, seeds, book, args.figures)
                rows[f"{acceleration:g}"] = {kind: settled(value) for kind, value in scores.items()}
            except ConfigError as error:
                rows[f"{acceleration:g}"] = {"failed": str(error)}
    for reference in ("rss", "combined"):
        Console(width=180).print(table(results, reference, len(seeds)))
    print(write_record("measured_scans", {"results": results}, args.out))


if __name__ == "__main__":
    main()
