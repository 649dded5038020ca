"""What networks see beyond the edge of an image: zeros, or its other side, with the weights that ship.

    python -m benchmarks.padding [--corpus FILE] [--samples 3]

PSNR inside the object of single estimates (`default`) and of the mean of samples (`sampler`, DDS with `prior`), on
simulated scans of validation persons and phantoms at R = 4 and 8, and the standard deviation of the samples in the two
outermost pixels over that of the four next to them along the upper edge: 1 where there is no frame.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.persons import Condition, options, persons, phantoms, scan_of, seed_of_text, undersampled
from benchmarks.record import write_record
from benchmarks.rivals import scored
from laminar.data.preparation import Problem, prepare, without_oversampling
from laminar.methods import Method, NetworkMethod
from laminar.methods.named import sampler_method
from laminar.models import load, load_prior
from laminar.networks.channels import Padding
from laminar.runtime import keep_freed_memory


def padded(module: Any, padding: Padding) -> Any:
    """A copy whose 3 x 3 convolutions have this padding."""
    made = copy.deepcopy(module)
    for part in made.modules():
        if isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3):
            part.padding_mode, part._reversed_padding_repeated_twice = padding, [1, 1, 1, 1]
        if hasattr(part, "padding") and not isinstance(part, nn.Conv2d):
            part.padding = padding
    return made


MODELS: dict[str, Callable[[Padding], Method]] = {
    "default": lambda padding: NetworkMethod(padded(load("default"), padding)),
    "sampler": lambda padding: NetworkMethod(padded(load("sampler"), padding)),
    "prior, DDS of 19 NFE": lambda padding: sampler_method("dds", padded(load_prior("prior"), padding), 19),
}


@torch.no_grad()
def drawn(method: Method, problem: Problem, samples: int) -> tuple[Tensor, float | None]:
    """The magnitude (1, y, x) of the estimate, or the mean over samples, and the relative deviation at the edge."""
    if not method.draws:
        return method(problem).image.abs(), None
    draws = torch.stack([method.draw(problem, torch.Generator().manual_seed(i)).image for i in range(samples)])
    deviation = draws.std(0)[0].abs()
    return draws.abs().mean(0), float(deviation[:2].mean() / deviation[2:6].mean())


def rows(corpus: Path, samples: int) -> Iterator[dict[str, Any]]:
    subjects = [*persons(corpus, 1)[:5], *phantoms(2)]
    for name, make in MODELS.items():
        both = {padding: make(padding) for padding in ("zeros", "circular")}
        for rate in (4.0, 8.0):
            for subject in subjects:
                condition, seed = Condition(rate), seed_of_text(f"{subject.name} 0 {Condition().coils}")
                scan = scan_of(subject.objects[0], condition, seed)
                problem = prepare(without_oversampling(undersampled(scan, condition, seed)))
                row: dict[str, Any] = {"model": name, "subject": subject.name, "acceleration": rate}
                for padding, method in both.items():
                    image, edge = drawn(method, problem, samples)
                    quality = scored({padding: image * problem.scale[:, None, None]}, scan.target)[padding]
                    row[padding] = {"object_psnr": quality["object_psnr"], "edge": edge}
                print(name, rate, subject.name, row["zeros"], row["circular"], flush=True)
                yield row


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--samples", type=int, default=3)
    args = parser.parse_args()
    keep_freed_memory()
    found = list(rows(args.corpus, args.samples))
    gains = {name: [r["circular"]["object_psnr"] - r["zeros"]["object_psnr"] for r in found if r["model"] == name]
             for name in MODELS}  # fmt: skip
    summary = {name: {"least": min(g), "mean": sum(g) / len(g), "most": max(g)} for name, g in gains.items()}
    print(write_record("padding", {"samples": args.samples, "circular - zeros (dB)": summary, "rows": found}, args.out))


if __name__ == "__main__":
    main()
