"""Receive arrays: complex coil sensitivities of loops by Biot-Savart, and the noise that coils share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from laminar.errors import ConfigError

MU0 = 4e-7 * math.pi  # T m / A
_NODES = 32  # Chebyshev nodes a side on which the field is evaluated
ARRAYS = ("volume", "surface", "birdcage")


@dataclass(frozen=True, eq=False)
class Loops:
    """Circular or elliptic wire loops: `center` and orthogonal half axes `first`, `second`, all (loop, 3)."""

    center: Tensor
    first: Tensor
    second: Tensor


def circular_loop(center: Tensor, normal: Tensor, radius: float) -> Loops:
    """One circular loop around `center` (3,) with its current right-handed about `normal` (3,)."""
    normal = normal / normal.norm()
    helper = torch.eye(3, dtype=normal.dtype)[int(normal.abs().argmin())]
    first = torch.linalg.cross(helper, normal)
    first = first / first.norm()
    second = torch.linalg.cross(normal, first)
    return Loops(center[None], radius * first[None], radius * second[None])


def loop_field(points: Tensor, loops: Loops, segments: int = 32, wire: float = 0.0) -> Tensor:
    """Magnetic field of every loop at one ampere, by Biot-Savart: tesla, (loop, point, 3).

        B(p) = mu0 / (4 pi) * integral of dl x (p - l) / (|p - l|^2 + wire^2)^(3/2)

    with the trapezoid rule in the angle, which converges geometrically with the number of segments away from
    the wire and is exact on the axis of a circle. `points` (point, 3) and the loops in meters; `wire` > 0 is
    for the thickness of the conductor and keeps the field finite. The precision is that of `points`.
    """
    angle = torch.arange(segments, dtype=points.dtype) * (2 * math.pi / segments)
    cosine, sine = angle.cos()[:, None], angle.sin()[:, None]
    position = loops.center[:, None] + cosine * loops.first[:, None] + sine * loops.second[:, None]
    element = (cosine * loops.second[:, None] - sine * loops.first[:, None]) * (2 * math.pi / segments)
    # sum w dl x (p - l) = (sum w dl) x p - sum w dl x l: two matrix products, no cross product a pair
    weight = (torch.cdist(points[None], position) ** 2 + wire**2) ** -1.5
    along = weight @ element
    turned = weight @ torch.linalg.cross(element, position)
    field: Tensor = torch.linalg.cross(along, points[None].expand_as(along)) - turned
    return MU0 / (4 * math.pi) * field


def sensitivities(
    n_coils: int, matrix: tuple[int, int], generator: torch.Generator, array: str | None = None
) -> Tensor:
    """Receive sensitivities B1- = Bx - i By of a random array around the object: complex64 (coil, y, x).

    Scaled so that the root of the sum of squares is one in the center. `array` is "volume" (rings of loops on
    an elliptic cylinder), "surface" (loops on one side), "birdcage" (modes of a ring: the first one nearly
    uniform) or None, which draws one. Positions, sizes, tilts, gains and phases are random. The main field is
    normal to the slice or, as in coronal and sagittal slices, lies in it. The field is computed on 32 x 32
    Chebyshev nodes and interpolated by the polynomial through them: the relative error inside the
    inscribed disc is about 0.1 % at most (8 coils: 0.04 %).

    Raises ConfigError unless 1 <= n_coils <= 256 and the array exists.
    """
    if not 1 <= n_coils <= 256:
        raise ConfigError(f"n_coils: expected 1 to 256 coils; got {n_coils}")
    if array is not None and array not in ARRAYS:
        raise ConfigError(f"array: expected one of {', '.join(ARRAYS)}; got {array!r}")
    if array is None:
        array = _draw_array(n_coils, _uniform(generator, 0, 1))
    in_plane = _uniform(generator, 0, 1) < 0.3  # of the main field
    extent = torch.tensor([matrix[1], matrix[0]]) / min(matrix)  # half sides along x and y
    around = torch.stack([extent[0], torch.ones(()) if in_plane else extent[1]])  # across the cylinder
    n_loops = max(n_coils, 8) if array == "birdcage" else n_coils
    rings = 1 if array == "birdcage" else max(1, round(n_coils / 11))
    loops = _surface(n_loops, around, generator) if array == "surface" else _volume(n_loops, rings, around, generator)
    if array == "birdcage" or (in_plane and array == "volume"):
        loops = _stretched(loops, max(1.0, 2.4 / rings) * (float(extent[1]) if in_plane else 1.0))
    coarse = _received(loops, extent, in_plane, generator)
    if array == "birdcage":
        coarse = _modes(coarse)[:n_coils]
    gains = torch.polar(
        torch.exp(0.15 * torch.randn(n_coils, generator=generator)),
        2 * math.pi * torch.rand(n_coils, generator=generator),
    )
    fields = _interpolate(coarse * gains[:, None, None], matrix)
    center = fields[:, matrix[0] // 2, matrix[1] // 2]
    return fields / center.abs().square().sum().sqrt()


def _draw_array(n_coils: int, draw: float) -> str:
    if n_coils == 1 or (draw > 0.9 and n_coils <= 12):
        return "birdcage"
    return "surface" if draw > 0.75 else "volume"


def _uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _stretched(loops: Loops, factor: float) -> Loops:
    """The loops drawn out along z, to cover the whole head."""
    scale = torch.tensor([1.0, 1.0, factor])
    return Loops(loops.center * scale, loops.first * scale, loops.second * scale)


def _volume(n: int, rings: int, around: Tensor, generator: torch.Generator) -> Loops:
    """Loops on one or more rings of an elliptic cylinder along z, neighbors overlapping a little."""
    ring = torch.arange(n) % rings
    place = torch.div(torch.arange(n), rings, rounding_mode="floor")
    per_ring = torch.bincount(ring, minlength=rings)[ring]
    start = _uniform(generator, 0, 2 * math.pi)
    angle = start + 2 * math.pi * (place + 0.5 * (ring % 2)) / per_ring
    angle = angle + 0.1 * torch.randn(n, generator=generator) * (2 * math.pi / per_ring)
    semi = torch.tensor([_uniform(generator, 1.2, 1.75), _uniform(generator, 1.2, 1.75)]) * around
    radius = _uniform(generator, 0.8, 1.3) * semi.mean() * math.pi / per_ring.clamp(min=4)
    height = (ring - (rings - 1) / 2) * radius * 1.6 + _uniform(generator, -0.3, 0.3)
    return _on_cylinder(angle, height, radius, semi, generator)


def _surface(n: int, around: Tensor, generator: torch.Generator) -> Loops:
    """Loops on a patch of the cylinder, like a spine or a flexible array."""
    rows = max(1, round(math.sqrt(n) / 1.3))
    row = torch.arange(n) % rows
    place = torch.div(torch.arange(n), rows, rounding_mode="floor")
    columns = torch.bincount(row, minlength=rows)[row]
    opening = _uniform(generator, 0.5, 1.0) * math.pi
    angle = _uniform(generator, 0, 2 * math.pi) + opening * ((place + 0.5) / columns - 0.5)
    semi = torch.tensor([_uniform(generator, 1.2, 1.6), _uniform(generator, 1.2, 1.6)]) * around
    radius = _uniform(generator, 0.9, 1.3) * semi.mean() * opening / 2 / columns.clamp(min=2)
    height = (row - (rows - 1) / 2) * radius * 1.6
    return _on_cylinder(angle, height, radius, semi, generator)


def _on_cylinder(angle: Tensor, height: Tensor, radius: Tensor, semi: Tensor, generator: torch.Generator) -> Loops:
    """Loops at these places, facing the axis up to a random tilt, their sizes and shapes varying a little."""
    n = len(angle)
    flat = torch.zeros(n)
    center = torch.stack([semi[0] * angle.cos(), semi[1] * angle.sin(), height], -1)
    around = torch.nn.functional.normalize(
        torch.stack([-semi[0] * angle.sin(), semi[1] * angle.cos(), flat], -1), dim=-1
    )
    along = torch.tensor([0.0, 0.0, 1.0]).expand(n, 3)
    outward = torch.linalg.cross(around, along)
    tilt = 0.15 * torch.randn(n, 2, generator=generator)
    around = torch.nn.functional.normalize(around + tilt[:, :1] * outward, dim=-1)
    along = torch.nn.functional.normalize(along + tilt[:, 1:] * outward, dim=-1)
    size = radius[:, None] * torch.exp(0.08 * torch.randn(n, 2, generator=generator))
    return Loops(center, size[:, :1] * around, size[:, 1:] * along)


def _received(loops: Loops, extent: Tensor, in_plane: bool, generator: torch.Generator) -> Tensor:
    """B1- on the Chebyshev nodes of the field of view: complex64 (loop, y, x)."""
    nodes = _chebyshev_nodes().float()
    b, a = torch.meshgrid(nodes, nodes, indexing="ij")
    a, b = extent[0] * a, extent[1] * b
    offset = torch.full_like(a, _uniform(generator, -0.3, 0.3))
    parts = (a, offset, b) if in_plane else (a, b, offset)
    points = torch.stack([p.flatten() for p in parts], -1)
    field = loop_field(points, loops, wire=0.12)
    return torch.complex(field[..., 0], -field[..., 1]).reshape(-1, _NODES, _NODES)


def _modes(fields: Tensor) -> Tensor:
    """Discrete Fourier modes of a ring of loops, first the uniform one: each loop's angle is its phase."""
    n = len(fields)
    order = torch.tensor([m // 2 + 1 if m % 2 == 0 else -(m // 2) for m in range(n)])
    phase = 2 * math.pi / n * order[:, None] * torch.arange(n)
    return torch.einsum("ml,lyx->myx", torch.polar(torch.ones_like(phase), phase) / math.sqrt(n), fields)


def _chebyshev_nodes() -> Tensor:
    return torch.cos(math.pi * (torch.arange(_NODES, dtype=torch.float64) + 0.5) / _NODES) * _EXTENT


_EXTENT = 1.02  # a little more than the field of view, so that the outermost pixels are inside


@lru_cache(maxsize=32)
def _chebyshev_matrix(n: int) -> Tensor:
    """From values at the nodes to values at n pixel centers of [-1, 1], barycentric: complex64 (n, node)."""
    nodes = _chebyshev_nodes()
    pixels = (torch.arange(n, dtype=torch.float64) - n // 2) * (2.0 / n)
    signs = torch.tensor([(-1.0) ** k for k in range(_NODES)], dtype=torch.float64)
    weights = signs * torch.sin(math.pi * (torch.arange(_NODES, dtype=torch.float64) + 0.5) / _NODES)
    difference = pixels[:, None] - nodes
    terms = weights / torch.where(difference == 0, 1e-300, difference)
    return (terms / terms.sum(1, keepdim=True)).to(torch.complex64)


def _interpolate(coarse: Tensor, matrix: tuple[int, int]) -> Tensor:
    return _chebyshev_matrix(matrix[0]) @ coarse @ _chebyshev_matrix(matrix[1]).T


def noise_covariance(n_coils: int, generator: torch.Generator) -> Tensor:
    """Random noise covariance of an array of neighbors on a ring: complex64 (coil, coil).

    Hermitian, positive definite, mean diagonal one: Psi_ij = g_i g_j rho^d(i,j) exp(i (phi_i - phi_j)) with
    the distance d along the ring, rho in [0.05, 0.4] and gains g that vary by about 10 %. The condition
    number is at most ((1 + rho) / (1 - rho))^2 (max g / min g)^2, typically 2 to 10.
    """
    rho = _uniform(generator, 0.05, 0.4)
    steps = (torch.arange(n_coils)[:, None] - torch.arange(n_coils)).abs()
    steps = torch.minimum(steps, n_coils - steps)
    gain = torch.exp(0.1 * torch.randn(n_coils, generator=generator))
    gain = gain / gain.square().mean().sqrt()
    phasor = torch.polar(gain, 2 * math.pi * torch.rand(n_coils, generator=generator))
    return rho**steps * phasor[:, None] * phasor.conj()


def colored_noise(shape: tuple[int, ...], covariance: Tensor, generator: torch.Generator) -> Tensor:
    """Circular complex Gaussian noise with E[n n^H] = covariance between coils: complex64 (..., coil, y, x).

    Raises ConfigError if the coil axis (-3) of `shape` does not fit the covariance.
    """
    if len(shape) < 3 or shape[-3] != covariance.shape[0]:
        raise ConfigError(
            f"noise: (..., coil, y, x) must have {covariance.shape[0]} coils like the covariance; got {shape}"
        )
    white = torch.randn(shape, dtype=torch.complex64, generator=generator)
    variances, modes = torch.linalg.eigh(covariance)  # unlike Cholesky also for no noise at all
    root = modes * variances.clamp(min=0).sqrt()
    return torch.einsum("ij,...jyx->...iyx", root.to(white.dtype), white)
