"""Programs in files that run without this package: torch.export, ONNX, and compiled by AOTInductor."""

from __future__ import annotations

import logging
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from laminar.data.preparation import Problem
from laminar.errors import LaminarError, package
from laminar.export.program import Program
from laminar.files import MARK, replacing
from laminar.models import UnrolledNetwork
from laminar.version import __version__

Inputs = tuple[Tensor, Tensor, Tensor, Tensor]
SMALLEST, LARGEST, MOST_COILS = 32, 1024, 256
TOLERANCE = 5e-3
"""How far, relative to its norm, the image of a program may be from the network's."""
OPSET = 20
STAGES = ("tracing", "compiling", "comparing")
_INPUTS = ("y", "mask", "maps", "sigma")


@dataclass(frozen=True)
class Route:
    """A kind of file: the transform of its program, what writes it, and what opens it as a function of arrays."""

    ending: str
    fourier: Literal["fast", "matrices"]
    write: Callable[[ExportedProgram, Path], None]
    open: Callable[[Path], Callable[..., Tensor]]
    packages: tuple[str, ...] = ()


def inputs_of(problem: Problem, fourier: str) -> Inputs:
    """The inputs of a program for the first image of a problem of coils. Raises ConfigError for another one."""
    coils = problem.encoding
    arrays = problem.y[0], coils.sensitivities[0]
    y, maps = arrays if fourier == "fast" else map(torch.view_as_real, arrays)
    return y.contiguous(), coils.mask[0], maps.contiguous(), problem.noise_level[0]


def exported(network: UnrolledNetwork, fourier: Literal["fast", "matrices"], example: Problem) -> ExportedProgram:
    """The program of a network for any number of coils and any size from 32 to 1024, traced with an example."""
    coil, y, x = Dim("coil", min=2, max=MOST_COILS), Dim("y", min=SMALLEST, max=LARGEST), Dim("x", min=32, max=LARGEST)
    arrays = {0: coil, 1: y, 2: x}
    with torch.no_grad(), _quiet():
        return torch.export.export(
            Program(network, fourier),
            inputs_of(example, fourier),
            dynamic_shapes=(arrays, {0: y, 1: x}, arrays, None),
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=True,
        )


def write(
    network: UnrolledNetwork,
    route: str,
    path: Path,
    example: Problem,
    test: Problem,
    report: Callable[[int, str], None] = lambda done, said: None,
) -> float:
    """Write a program to `path`, if its image of `test` is that of the network: the relative difference of the two.

    `report` is told the stages. Raises LaminarError if the difference is above TOLERANCE, and MissingExtraError.
    """
    way = ROUTES[route]
    for name in way.packages:
        package(name, route)  # missing is told before minutes of work
    report(0, STAGES[0])
    program = exported(network, way.fourier, example)
    with replacing(path) as temporary:
        report(1, STAGES[1])
        with _quiet():
            way.write(program, temporary)
        if zipfile.is_zipfile(temporary):
            with zipfile.ZipFile(temporary, "a") as file:
                file.comment = MARK
        report(2, STAGES[2])
        difference = compare(way.open(temporary), way.fourier, network, test)
        if not difference <= TOLERANCE:
            raise LaminarError(
                f"the program differs from the network by {difference:.1e} of its image, more than {TOLERANCE:g}: "
                "nothing is written"
            )
    return difference


@torch.no_grad()
def compare(run: Callable[..., Tensor], fourier: str, network: UnrolledNetwork, problem: Problem) -> float:
    """`||image of the program - image of the network|| / ||image of the network||`, of the first image of a problem."""
    image = run(*inputs_of(problem, fourier))
    image = image if image.is_complex() else torch.view_as_complex(image.contiguous())
    expected = network(problem.y, problem.operator, problem.noise_level)[0]
    return float((image - expected).norm() / expected.norm())


def real_alone(program: ExportedProgram) -> None:
    """Take out of a graph the complex numbers that are made of two real ones and taken apart again."""
    aten, graph = torch.ops.aten, program.graph_module.graph
    for node in list(graph.nodes):
        if node.target is not aten.view_as_complex.default:
            continue
        for user in list(node.users):
            if user.target in (aten.view_as_real.default, aten.sym_size.int):
                user.replace_input_with(node, node.args[0])
                if user.target is aten.view_as_real.default:
                    user.replace_all_uses_with(node.args[0])
    graph.eliminate_dead_code()
    program.graph_module.recompile()


def _write_pt2(program: ExportedProgram, path: Path) -> None:
    torch.export.save(program, path)


def _open_pt2(path: Path) -> Callable[..., Tensor]:
    opened: Callable[..., Tensor] = torch.export.load(path).module()
    return opened


def _write_onnx(program: ExportedProgram, path: Path) -> None:
    real_alone(program)
    # The runtime simplifies a graph in seconds when it opens it; the exporter takes many minutes for six cascades.
    made = torch.onnx.export(
        program,
        dynamo=True,
        opset_version=OPSET,
        input_names=_INPUTS,
        output_names=["image"],
        optimize=False,
        verbose=False,
    )
    assert made is not None
    made.model.producer_name, made.model.producer_version = "laminar", __version__
    made.save(path, external_data=False)


def _open_onnx(path: Path) -> Callable[..., Tensor]:
    session = package("onnxruntime", "onnx").InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(*inputs: Tensor) -> Tensor:
        told = {name: tensor.numpy() for name, tensor in zip(_INPUTS, inputs, strict=True)}
        return torch.from_numpy(session.run(None, told)[0])

    return run


def _write_aoti(program: ExportedProgram, path: Path) -> None:
    real_alone(program)
    torch._inductor.aoti_compile_and_package(program, package_path=str(path))


def _open_aoti(path: Path) -> Callable[..., Tensor]:
    opened: Callable[..., Tensor] = torch._inductor.aoti_load_package(str(path))
    return opened


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters say of themselves; `torch.export` counts its steps on standard output."""
    level = logging.getLogger("torch").level
    logging.getLogger("torch").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger("torch").setLevel(level)


ROUTES: dict[str, Route] = {
    "pt2": Route(".pt2", "fast", _write_pt2, _open_pt2),
    "onnx": Route(".onnx", "matrices", _write_onnx, _open_onnx, ("onnxscript", "onnxruntime")),
    "aoti": Route(".aoti.pt2", "matrices", _write_aoti, _open_aoti),
}
