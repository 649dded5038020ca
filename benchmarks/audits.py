"""Train three presets and a `fastmri` VarNet on the same simulated brains, and audit each of them.

    python -m benchmarks.audits --train          600 steps each, seed 0, the setting of benchmarks/studies/presets.yaml
    python -m benchmarks.audits                  audit what was trained, and the model that ships
    python -m benchmarks.audits --only default   the model that ships, alone

The record of each audit goes to results/audits/, its page stays under runs/audits/pages/. The VarNet of the `fastmri`
package has 5 cascades, 9 channels and 3 pools, so that it is of the size of the others; it learns its own sensitivities
and is trained on the magnitude that it returns, with L1 + 0.05 (1 - SSIM) like the others.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.record import RESULTS
from laminar.data.cases import Case
from laminar.files import replacing
from laminar.metrics import ssim
from laminar.models import build
from laminar.runtime import keep_freed_memory
from laminar.study.cell import train_config
from laminar.study.folder import make_plan
from laminar.study.reading import load_study
from laminar.training.config import TrainConfig
from laminar.training.data import make_data
from laminar.training.loop import learning_rate, make_fabric, train
from laminar.training.state import RunFolder

RUNS = Path("runs/audits")
NAMES = {"e2e-varnet": "E2E-VarNet", "modl": "MoDL, unshared", "flat": "FLAT"}
SUBJECTS = {name: (str(RUNS / name / name),) for name in NAMES} | {
    "fastmri-varnet": (str(RUNS / "fastmri-varnet.safetensors"), "--fastmri"),
    "default": ("default",),
}
VARNET: dict[str, int] = {"num_cascades": 5, "chans": 9, "pools": 3, "sens_chans": 4, "sens_pools": 3}
CALIBRATION_LINES = 14


def configurations(steps: int) -> dict[str, TrainConfig]:
    """The trainings of the study of presets with seed 0, by network."""
    plan = make_plan(load_study(Path(__file__).parent / "studies" / "presets.yaml"))
    cells = {place.labels["network"]: plan.cells[str(place.key)] for place in plan.places if place.seed == 0}
    every = max(1, steps // 4)
    return {name: replace(train_config(cell), steps=steps, validate_every=every) for name, cell in cells.items()}


def train_presets(steps: int) -> None:
    for folder, name in NAMES.items():
        run = configurations(steps)[name]
        stream, validation = make_data(run)
        torch.manual_seed(0)
        network = build(run.model)
        outcome = train(make_fabric(run), network, stream, validation, run, RunFolder(RUNS / folder / "run"))
        final = RUNS / folder / folder
        shutil.rmtree(final, ignore_errors=True)
        shutil.copytree(RUNS / folder / "run" / "last", final)
        print(f"{name}: {outcome.validation['psnr']:.2f} dB", flush=True)


def train_varnet(steps: int) -> None:
    from fastmri.models import VarNet

    config = configurations(steps)["FLAT"]
    stream, _ = make_data(config)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = VarNet(**VARNET)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.optimizer.learning_rate)
    for step in range(1, steps + 1):
        batch = stream.batch(step - 1)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, config.optimizer)
        loss = varnet_loss(network, batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.optimizer.clip)
        optimizer.step()
        if step % 100 == 0:
            print(f"fastmri VarNet: step {step}, loss {loss.item():.4f}", flush=True)
    with replacing(RUNS / "fastmri-varnet.safetensors") as temporary:
        save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, temporary)


def varnet_loss(network: Any, batch: Case) -> Tensor:
    problem, target = batch.problem, batch.image.abs()
    kspace = torch.view_as_real(problem.y.resolve_conj()).contiguous()
    mask = problem.encoding.mask[:, None, :1, :, None]
    image = network(kspace, mask, CALIBRATION_LINES)
    similarity = ssim(image, target, target.flatten(1).amax(1))
    return (image - target).abs().mean() + 0.05 * (1 - similarity)


def audit(name: str, *arguments: str) -> None:
    out = RUNS / "pages" / name
    command = [sys.executable, "-m", "laminar", "audit", *arguments, "--out", str(out), "--acceleration", "5"]
    print(f"laminar {' '.join(command[3:])}", flush=True)
    subprocess.run(command, check=True)
    (RESULTS / "audits").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(out / "audit.json", RESULTS / "audits" / f"{name}.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--only", choices=SUBJECTS, help="audit this one alone")
    args = parser.parse_args()
    keep_freed_memory()
    if args.train:
        train_varnet(args.steps)
        train_presets(args.steps)
        return
    for name in [args.only] if args.only else SUBJECTS:
        audit(name, *SUBJECTS[name])


if __name__ == "__main__":
    main()
