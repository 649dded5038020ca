"""The end-to-end variational network: cascades in k-space, carried out on two images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from laminar.errors import CheckpointError, ConfigError
from laminar.flow import Trajectory
from laminar.models.checks import depth_of
from laminar.models.config import VarNetConfig
from laminar.models.fastmri_weights import fastmri_names, unet_sizes, without_prefix
from laminar.models.recompute import kept
from laminar.networks import NormUnet
from laminar.operators import Encoding, LinearOperator, ifft2c

Edit = Callable[[int, Tensor], Tensor]
CACHE_BYTES, DEVICE_BYTES = 2**22, 2**24


@dataclass(frozen=True, eq=False)
class Carried:
    """What goes from cascade to cascade: r and e, (batch, y, x), and the coil images c of changes from outside."""

    removed: Tensor
    returned: Tensor
    changed: Tensor | None = None

    def with_change(self, coils: Tensor) -> Carried:
        return replace(self, changed=coils if self.changed is None else self.changed + coils)


class VarNet(nn.Module):
    """The E2E-VarNet of Sriram et al., arXiv 2004.06688, with learned sensitivities S, `sum_coil |S|^2 = 1`.

    Its cascade is `k <- k - w_j M (k - y) - F S R_j(S^H F^-1 k)`, from `k = y`, with a `NormUnet` `R_j` and a learned
    number `w_j`. By induction `k_j = y - F S r_j + M F S e_j` with two *images*: `r`, what was removed so far, and
    `e`, what the data put back of it. Only these are carried from cascade to cascade:

        x = x_0 - r + S^H F^-1 M F S e,    e <- e + w_j (r - e),    r <- r + R_j(x),    x_0 = S^H F^-1 y

    and the image is the root sum of squares of `F^-1 k_N`. A mask of lines needs transforms along x alone.

    The settings are those of `VarNetConfig`. The sensitivity network sees as many coils at once as have a full-size
    activation of at most `chunk_bytes` (default: 4 MiB, which stays in a processor's cache; 16 MiB on other devices).
    With `recompute`, a call computes every `NormUnet` again in the backward pass instead of keeping its activations.
    Raises ConfigError for settings that do not exist or fit.
    """

    def __init__(self, config: VarNetConfig | None = None, *, chunk_bytes: int | None = None, **settings: Any) -> None:
        super().__init__()
        self.config = config = VarNetConfig.of(config, settings)
        self.chunk_bytes = chunk_bytes
        self.sensitivity = NormUnet(config.sensitivity_channels, config.sensitivity_pools)
        self.cascades = nn.ModuleList(NormUnet(config.channels, config.pools) for _ in range(config.n_cascades))
        self.data_weights = nn.ParameterList(torch.ones(1) for _ in range(config.n_cascades))

    @property
    def description(self) -> str:
        combined = "root sum of squares" if self.config.root_sum_of_squares else "by the scan's sensitivities"
        return f"E2E-VarNet in k-space, {self.config.n_cascades} cascades, coils combined: {combined}"

    def forward(
        self, kspace: Tensor, mask: Tensor, calibration_lines: int | None = None, recompute: bool = False
    ) -> Tensor:
        """The root-sum-of-squares image (batch, y, x) of `kspace`, complex (batch, coil, y, x), 0 where not sampled.

        `mask` bool (batch or 1, y, x) holds lines along y. `calibration_lines` is the number of central lines that
        the sensitivities come from; None takes the sampled ones about the center. Raises ConfigError for others.
        """
        coils, maps, lines = self._prepare(kspace, mask, calibration_lines, recompute)
        start = (maps.conj() * coils).sum(1)
        carried = Carried(torch.zeros_like(start), torch.zeros_like(start))
        for k in range(len(self.cascades)):
            carried, _ = self._cascade(k, start, carried, maps, lines, recompute)
        return _rss(_coil_images(coils, maps, lines, carried))

    def trajectory(
        self,
        y: Tensor,
        operator: LinearOperator,
        noise_level: Tensor | None = None,
        *,
        source: Tensor | None = None,
        generator: torch.Generator | None = None,
        edit: Edit | None = None,
        n_cascades: int | None = None,
        recompute: bool = False,
    ) -> Trajectory:
        """The images `x_j = S^H F^-1 k_j`, combined with the sensitivities S of `operator`, an Encoding.

        They are what other networks reconstruct, and compare with their target `S^H F^-1 y_clean`; the cascades use
        the learned sensitivities, here L. From `x_0 = A^H y`, with one more image `S^H L`:

            x_j = x_0 - (S^H L) r_j + S^H F^-1 M F L e_j

        With `root_sum_of_squares` the result is that of `F^-1 k_N`, as `forward` gives it, with the phase of the last
        state. The endpoints are the images of the denoised k-space, `k_j - F L R_j(L^H F^-1 k_j)`: the next state, but
        for the data. The network is no discretization of time: `times` is None. The mask holds lines along y or along
        x. As published, there is no use for `noise_level` and `generator`. `edit(k, x)` may change the state after k
        cascades: a change d enters k-space as `F S d`, carried in coil images c beside r and e,
        `c <- c - w_j F^-1 M F c`. `n_cascades` runs another number: fewer stop early, more apply the last one again.
        Raises ConfigError for another operator or mask, and for a `source`.
        """
        if not isinstance(operator, Encoding):
            raise ConfigError(f"VarNet needs an Encoding, with mask and sensitivities; got {type(operator).__name__}")
        if source is not None:
            raise ConfigError("VarNet starts from the measured k-space and takes no other source")
        if _along_x(operator.mask):
            turned = Encoding(operator.mask.mT.contiguous(), operator.sensitivities.mT.contiguous())
            turned_edit = edit and (lambda k, x: edit(k, x.mT).mT)
            return _turned(
                self.trajectory(y.mT.contiguous(), turned, edit=turned_edit, n_cascades=n_cascades, recompute=recompute)
            )
        coils, maps, lines = self._prepare(y, operator.mask, None, recompute)
        gauge, first = operator.sensitivities, operator.adjoint(y)
        overlap = (gauge.conj() * maps).sum(1)
        states, endpoints = list[Tensor](), list[Tensor]()
        start = (maps.conj() * coils).sum(1)
        carried = Carried(torch.zeros_like(start), torch.zeros_like(start))
        for k in range(1 + depth_of(n_cascades, len(self.cascades))):
            if k > 0:
                carried, update = self._cascade(k - 1, start, carried, maps, lines, recompute)
                endpoints.append(states[-1] - overlap * update)
            state = first - overlap * carried.removed + _gram(carried.returned, maps, lines, gauge)
            if edit is not None:
                if carried.changed is not None:
                    state = state + (gauge.conj() * carried.changed).sum(1)
                change = gauge * (edit(k, state) - state).unsqueeze(1)
                state, carried = state + (gauge.conj() * change).sum(1), carried.with_change(change)
            states.append(state)
        result = None
        if self.config.root_sum_of_squares:
            result = torch.polar(_rss(_coil_images(coils, maps, lines, carried)), states[-1].angle())
        return Trajectory(states, endpoints, None, len(endpoints), result)

    def _prepare(
        self, kspace: Tensor, mask: Tensor, calibration_lines: int | None, recompute: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Coil images of the data, sensitivities, and the mask over x in the order of the plain transform."""
        _check(kspace, mask, calibration_lines)
        maps = self.sensitivities(kspace, mask, calibration_lines, recompute)
        lines = torch.fft.ifftshift(mask[:, None, :1], dim=-1).to(maps.real.dtype)
        return ifft2c(kspace), maps, lines

    def _cascade(
        self, k: int, start: Tensor, carried: Carried, maps: Tensor, lines: Tensor, recompute: bool
    ) -> tuple[Carried, Tensor]:
        """What cascade k carries on, and `R(x)`; `start` is the combined image of the data."""
        x = start - carried.removed
        if k > 1:  # nothing is returned before
            x = x + _gram(carried.returned, maps, lines, maps)
        if carried.changed is not None:
            x = x + (maps.conj() * carried.changed).sum(1)
        last = min(k, len(self.cascades) - 1)
        update: Tensor = kept(self.cascades[last], x, recompute=recompute)
        weight = self.data_weights[last]
        returned = carried.returned + weight * (carried.removed - carried.returned)
        changed = None if carried.changed is None else carried.changed - weight * _sample(carried.changed, lines)
        return Carried(carried.removed + update, returned, changed), update

    def sensitivities(
        self, kspace: Tensor, mask: Tensor, calibration_lines: int | None = None, recompute: bool = False
    ) -> Tensor:
        """The learned maps (batch, coil, y, x) from the central lines, a chunk of coils at a time."""
        band = _calibration_band(mask, calibration_lines)[:, None, None]
        rows = (kspace * band).flatten(0, 1)
        coil_bytes = rows[0].numel() * rows.element_size() // 2 * self.sensitivity.last.in_channels
        chunk_bytes = self.chunk_bytes or (CACHE_BYTES if rows.device.type == "cpu" else DEVICE_BYTES)
        chunks = torch.split(rows, max(1, chunk_bytes // coil_bytes))
        maps = torch.cat([kept(self._coil_maps, chunk, recompute=recompute) for chunk in chunks]).view(kspace.shape)
        return maps / _rss(maps).unsqueeze(1)

    def _coil_maps(self, kspace: Tensor) -> Tensor:
        maps: Tensor = self.sensitivity(ifft2c(kspace))
        return maps

    @classmethod
    def from_fastmri(cls, state: Mapping[str, Tensor], **options: Any) -> Self:
        """The network with the weights of a `fastmri.models.VarNet`; its sizes follow from their shapes, its
        precision is theirs, and its image the root sum of squares.

        They may be part of another module, as of Lightning or DataParallel, whose prefix and other parts are dropped.
        `options`: `chunk_bytes`. Raises CheckpointError unless every weight has its place.
        """
        state = without_prefix(state)
        cascade, sensitivity = (
            unet_sizes(state, "cascades.0.model.unet"),
            unet_sizes(state, "sens_net.norm_unet.unet"),
        )
        n_cascades = sum(name.endswith(".dc_weight") for name in state)
        network = cls(VarNetConfig(n_cascades, *cascade, *sensitivity, root_sum_of_squares=True), **options)
        names = fastmri_names(len(network.cascades), cascade[1], sensitivity[1])
        strange = sorted(set(names.values()) ^ set(state))
        if strange:
            raise CheckpointError(f"not the weights of a fastmri VarNet: {strange[0]!r} is missing or unexpected")
        for name, weight in network.state_dict().items():
            if weight.shape != (given := state[names[name]]).shape:
                raise CheckpointError(f"{names[name]!r} should be {tuple(weight.shape)}; got {tuple(given.shape)}")
        network.to(next(iter(state.values())).dtype)
        network.load_state_dict({ours: state[theirs] for ours, theirs in names.items()})
        return network


def _rss(coils: Tensor) -> Tensor:
    """The root sum of squares, with a finite gradient and inverse where there is no signal."""
    power = torch.view_as_real(coils).square().sum(1).sum(-1)
    return power.clamp_min(torch.finfo(power.dtype).tiny).sqrt()


def _coil_images(coils: Tensor, maps: Tensor, lines: Tensor, carried: Carried) -> Tensor:
    """`F^-1 k` of what the cascades carry."""
    found = coils - maps * carried.removed.unsqueeze(1) + _sample(maps * carried.returned.unsqueeze(1), lines)
    return found if carried.changed is None else found + carried.changed


def _sample(coils: Tensor, lines: Tensor) -> Tensor:
    """`F^-1 M F` of coil images: a circulant product, so that the shifts cancel; lines leave y alone."""
    sampled: Tensor = torch.fft.ifft(torch.fft.fft(coils) * lines)
    return sampled


def _gram(x: Tensor, maps: Tensor, lines: Tensor, combining: Tensor) -> Tensor:
    result: Tensor = _Gram.apply(x, maps, lines, combining)  # type: ignore[no-untyped-call]
    return result


class _Gram(torch.autograd.Function):
    """`G x = C^H H S x`, `H = F^-1 M F`, which keeps no coil images for its gradient but `maps` S and `combining` C.

    All cascades share these. With the gradient g: `dL/dx = S^H H C g`, `dL/dS = conj(x) H(C g)` and
    `dL/dC = conj(g) H(S x)`.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, maps: Tensor, lines: Tensor, combining: Tensor) -> Tensor:
        ctx.save_for_backward(x, maps, lines, combining)
        return (combining.conj() * _sample(maps * x.unsqueeze(1), lines)).sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, Tensor | None]:
        x, maps, lines, combining = ctx.saved_tensors
        mapped = _sample(combining * gradient.unsqueeze(1), lines)
        to_x = (maps.conj() * mapped).sum(1)
        to_maps = mapped.mul_(x.conj().unsqueeze(1))
        if not ctx.needs_input_grad[3]:
            return to_x, to_maps, None, None
        to_combining = _sample(maps * x.unsqueeze(1), lines).mul_(gradient.conj().unsqueeze(1))
        return to_x, to_maps, None, to_combining


def _along_x(mask: Tensor) -> bool:
    """Whether the lines of a mask run along x, the same in every column, and not along y."""
    return bool((mask == mask[..., :1]).all()) and not bool((mask == mask[:, :1]).all())


def _turned(trajectory: Trajectory) -> Trajectory:
    states, endpoints = ([x.mT for x in images] for images in (trajectory.states, trajectory.endpoints))
    result = None if trajectory.result is None else trajectory.result.mT
    return Trajectory(states, endpoints, trajectory.times, trajectory.nfe, result)


def _check(kspace: Tensor, mask: Tensor, calibration_lines: int | None) -> None:
    shape, size = tuple(kspace.shape), kspace.shape[-2:]
    if kspace.ndim != 4 or not kspace.is_complex():
        raise ConfigError(f"VarNet needs complex k-space (batch, coil, y, x); got {kspace.dtype} {shape}")
    if mask.dtype != torch.bool or mask.ndim != 3 or mask.shape[1:] != size or len(mask) not in (1, len(kspace)):
        raise ConfigError(
            f"VarNet needs a bool mask (batch or 1, y, x) for {shape}; got {mask.dtype} {tuple(mask.shape)}"
        )
    if not bool((mask == mask[:, :1]).all()):
        raise ConfigError("VarNet needs a mask of lines along y, the same in every row; got one that varies along y")
    if calibration_lines is not None and not 1 <= calibration_lines <= size[1]:
        raise ConfigError(f"VarNet needs 1 to {size[1]} calibration lines or None; got {calibration_lines}")


def _calibration_band(mask: Tensor, calibration_lines: int | None) -> Tensor:
    """The lines (batch or 1, x) about the center that are used for calibration.

    Without a number it is twice the shorter of the sampled runs on both sides of the center, and at least 1. Equal
    to the published code also in that a side without any gap counts as a run of 0.
    """
    row, n = mask[:, 0].to(torch.int8), mask.shape[-1]
    if calibration_lines is None:
        left, right = row[:, : n // 2].flip(1).argmin(1), row[:, n // 2 :].argmin(1)
        count = (2 * torch.minimum(left, right)).clamp_min(1)
    else:
        count = torch.full((len(mask),), calibration_lines, device=mask.device)
    index, first = torch.arange(n, device=mask.device), (n - count + 1)[:, None] // 2
    return (index >= first) & (index < first + count[:, None])
