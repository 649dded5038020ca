"""BART's `pics` (0.8.00) as an oracle: problems, the command, its conventions, and the small file of its results.

    python tests/classical/bart_oracle.py     writes golden/pics_bart.npz anew

`pics` minimizes `1/2 ||A x - y||^2 + weight R(x)` with the unitary Fourier transform, as we do, once these are seen to:
    -w 1        the data are not divided by BART's own scale
    -n          the wavelets are not shifted at random
    T:3:0:w     isotropic, backward differences, periodic
    W:3:0:w     every band counts, the coarsest too; levels as long as the side is 16 or longer. Only Haar's bands
                are orthogonal there: the longer filter extends the image by reflection, and does not shrink to half
    FISTA ends with a gradient step: what comes out is `u = x - 0.95 grad f(x)`, hence `x = prox(u)` with that step
Our axes (y, x) are BART's first two.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from laminar.classical.proximal import soft_threshold
from laminar.classical.wavelet import Wavelet
from laminar.data.formats.bart import load
from laminar.data.masks import make_mask
from laminar.data.preparation import Problem, prepare
from laminar.data.simulation import simulate_slice
from laminar.operators import Encoding

GOLDEN = Path(__file__).parent / "golden" / "pics_bart.npz"
WEIGHT, BART_STEP = 0.02, 0.95
OPTIONS = {
    "total variation": ["-R", f"T:3:0:{WEIGHT}", "-i", "500"],
    "haar": ["-R", f"W:3:0:{WEIGHT}", "--wavelet", "haar", "-n", "-i", "500"],
    "shifted": ["-R", f"W:3:0:{WEIGHT}", "-i", "100"],
}


def problem(matrix: tuple[int, int], coils: int, seed: int) -> Problem:
    """A simulated head, twofold undersampled."""
    full = simulate_slice("brain", matrix, coils, 0.02, torch.Generator().manual_seed(seed)).scan
    return prepare(full.undersample(make_mask("equispaced-fraction", matrix, 2, 8, seed)))


def pics(name: str, problem: Problem, folder: Path) -> Tensor:
    """BART's image (1, y, x), at the minimum: its last gradient step is taken back."""
    _write(folder / "kspace", problem.y)
    _write(folder / "maps", problem.encoding.sensitivities)
    command = ["bart", "pics", "-w", "1", *OPTIONS[name], "kspace", "maps", "image"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    array = load(folder / "image")
    image = torch.from_numpy(array.reshape(array.shape[:2]).copy())[None]
    if name != "haar":
        return image
    wavelet = Wavelet(image.shape[1:], "haar")  # type: ignore[arg-type]
    return wavelet.adjoint(soft_threshold(wavelet.forward(image), BART_STEP * WEIGHT))


def _write(path: Path, coils: Tensor) -> None:
    """(1, coil, y, x) as a BART pair of files of axes (y, x, 1, coil)."""
    array = coils[0].permute(1, 2, 0).unsqueeze(2).numpy()
    path.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, array.shape)) + "\n", encoding="ascii")
    array.astype("<c8").ravel(order="F").tofile(path.with_suffix(".cfl"))


def golden() -> tuple[Problem, dict[str, Tensor]]:
    """The problem in the file, and BART's images of it."""
    with np.load(GOLDEN, allow_pickle=False) as file:
        arrays = {key: torch.from_numpy(file[key]) for key in file.files}
    one = torch.ones(1)
    kspace = arrays.pop("kspace")
    return Problem(kspace, Encoding(arrays.pop("mask"), arrays.pop("maps")), one, one), arrays


def _regenerate() -> None:
    import tempfile

    made = problem((32, 32), 4, 0)
    with tempfile.TemporaryDirectory() as folder:
        images = {name: pics(name, made, Path(folder)).numpy() for name in ("total variation", "haar")}
    GOLDEN.parent.mkdir(exist_ok=True)
    np.savez_compressed(GOLDEN, kspace=made.kspace, maps=made.sensitivities, mask=made.mask, **images)


if __name__ == "__main__":
    _regenerate()
