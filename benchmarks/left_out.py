"""What the first cascades of the model that ships are for: its images without one or two of them.

    python -m benchmarks.left_out [--corpus FILE]

PSNR inside the object on simulated scans of validation persons and phantoms. The cascades that stay keep their
networks, their weights of the data and the times at which they end; the first of them starts from the source.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.persons import Condition, options, persons, phantoms, score
from benchmarks.record import write_record
from benchmarks.rivals import ScoreBook
from laminar.methods import NetworkMethod
from laminar.models import UnrolledNetwork, load
from laminar.models.coefficients import FlowCoefficients
from laminar.runtime import keep_freed_memory

LEFT_OUT: dict[str, Sequence[int]] = {"none": (), "first": (0,), "second": (1,), "first and second": (0, 1)}
ACCELERATIONS = (1.5, 4.0, 8.0)


def without(network: UnrolledNetwork, left_out: Sequence[int]) -> UnrolledNetwork:
    """A network of the other cascades."""
    coefficients, config = network.coefficients, network.config
    assert isinstance(coefficients, FlowCoefficients)
    kept = [k for k in range(config.n_cascades) if k not in left_out]
    times = coefficients.times().tolist()
    made = UnrolledNetwork(
        config=config.changed(n_cascades=len(kept), schedule_times=[1.0, *(times[k + 1] for k in kept)])
    )
    state = {name: value for name, value in made.state_dict().items() if name == "coefficients.increments"}
    for name, value in network.state_dict().items():
        state |= _moved(name, value, kept)
    made.load_state_dict(state)
    return made.eval()


def _moved(name: str, value: Tensor, kept: Sequence[int]) -> dict[str, Tensor]:
    """What a tensor of the state is in the network of the cascades that are kept; nothing if it is of another one."""
    group, place, *rest = name.split(".")
    if group == "coefficients":
        return {} if place == "increments" else {name: value[list(kept)]}
    return {".".join([group, str(kept.index(int(place))), *rest]): value} if int(place) in kept else {}


def main() -> None:
    args = options(__doc__).parse_args()
    keep_freed_memory()
    whole = load("default")
    assert isinstance(whole, UnrolledNetwork)
    methods = {name: NetworkMethod(without(whole, gone)) for name, gone in LEFT_OUT.items()}
    rows: list[dict[str, Any]] = []
    for rate in ACCELERATIONS:
        for subject in [*persons(args.corpus, 1), *phantoms(2)]:
            [found] = score(subject, Condition(rate), methods, ScoreBook(None))
            rows.append({"acceleration": rate, "subject": subject.name}
                        | {name: found[name]["object_psnr"] for name in methods})  # fmt: skip
            print(rows[-1], flush=True)
    summary = {
        str(rate): {
            name: float(torch.tensor([r[name] - r["none"] for r in rows if r["acceleration"] == rate]).mean())
            for name in methods
            if name != "none"
        }
        for rate in ACCELERATIONS
    }
    print(summary)
    print(write_record("left_out", {"gain (dB), by acceleration": summary, "rows": rows}, args.out))


if __name__ == "__main__":
    main()
