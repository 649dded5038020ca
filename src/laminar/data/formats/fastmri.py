"""The fastMRI layout: HDF5 with `kspace` (slice, coil, kx, ky), an ISMRMRD header and a root-sum-of-squares
target.

The readout (twofold oversampled) is the axis y of a Scan, the phase encoding its axis x.
arXiv:1811.08839.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from laminar.data.formats.arrays import Variable, scan_name
from laminar.data.formats.axes import Array, to_complex64
from laminar.data.formats.format import File, Format, Request
from laminar.data.formats.guard import reading
from laminar.data.formats.hdf5 import Hdf5, hdf5_variables, in_rows, survey
from laminar.data.formats.header import MrdHeader, parse_header
from laminar.data.formats.layout import stream_variable
from laminar.data.formats.lazy import LazyScan
from laminar.data.formats.sampling import detect_mask
from laminar.errors import ConfigError, DataFormatError
from laminar.files import writing_hdf5
from laminar.geometry import Cartesian
from laminar.scan import Scan, cartesian

TARGETS = ("reconstruction_rss", "reconstruction_esc")
PHASE = "kspace_encoding_step_1"
FASTMRI_AXES = {4: "slice,coil,kx,ky", 3: "slice,kx,ky"}


def fits(file: File) -> bool:
    """Complex `kspace` of four axes, or of three beside something else that only this layout has."""
    kspace = None if file.hdf5 is None else file.hdf5.datasets.get("kspace")
    if file.hdf5 is None or kspace is None or not kspace.is_complex:
        return False
    signs = any(sign in file.hdf5.datasets for sign in ("ismrmrd_header", *TARGETS))
    return signs if len(kspace.shape) == 3 else len(kspace.shape) == 4


def stream(path: Path, request: Request) -> LazyScan | None:
    """The scan of a fastMRI file, slice by slice; a single-coil one gets a coil axis of one.

    The mask is the file's own (test files), zero in the padding beside the measured columns, or else where
    k-space is not zero in any slice, which a first pass finds. `image_shape` is that of the file's target, or else the
    header's reconstructed matrix.
    """
    if request.axes is not None or request.variable not in (None, "kspace"):
        return None
    file = survey(path)
    shape = file.datasets["kspace"].shape
    if request.domain == "image":
        axes = FASTMRI_AXES[len(shape)]
        return stream_variable(path, in_rows(file.datasets["kspace"]), axes, request.domain)
    check_coil_axis(shape)
    return stream_slices(path, file, in_rows(file.datasets["kspace"]), shape)


def check_coil_axis(shape: tuple[int, ...]) -> None:
    """Raise DataFormatError for (slice, y, x, coil), which other tools write under the same name."""
    if len(shape) == 4 and shape[3] < min(shape[1], shape[2]) and 2 * shape[3] <= shape[1]:
        raise DataFormatError(
            f"axis 1 of 'kspace' {shape} would be {shape[1]} coils of {shape[2:]} points: are the coils the last axis? "
            "then --axes slice,ky,kx,coil; else --axes slice,coil,kx,ky"
        )


def stream_slices(path: Path, file: Hdf5, kspace: Variable, shape: tuple[int, ...]) -> LazyScan:
    """The slices of `kspace` (slice, coil, y, x) or (slice, y, x), with what the file says besides."""

    def samples(index: int) -> Tensor:
        one = to_complex64(kspace.load((index,)))
        return one[None] if one.ndim == 3 else one[None, None]

    sampled = torch.cat([(samples(i) != 0).any(1, keepdim=True) for i in range(shape[0])] or [torch.zeros(0, 1, 1, 1)])
    said = _what_it_says(file, path, sampled)
    maps = in_rows(file.datasets["sensitivities"]) if "sensitivities" in file.datasets else None

    def one(index: int) -> Scan:
        with reading(path):
            part = samples(index)
            part = part * said["mask"] if "mask" in file.datasets else part
            return cartesian(
                part, sensitivities=None if maps is None else to_complex64(maps.load((index,)))[None], **said
            )

    grid = Cartesian(said["mask"], said["readout_axis"])
    coils = shape[1] if len(shape) == 4 else 1
    series = series_of(file, shape[0])
    return LazyScan(shape[0], coils, grid, one, series=series, name=said["name"], header=said["header"])


def series_of(file: Hdf5, n_images: int) -> dict[str, int]:
    """What counts the images of a file that Laminar wrote, `{"time": 12, "slice": 3}`, the last one fastest; else {}.

    Raises DataFormatError if it counts another number of them.
    """
    text = file.attributes.get("series")
    if not isinstance(text, str) or "laminar" not in file.attributes:  # what others call so is theirs
        return {}
    series = json.loads(text)
    if not isinstance(series, dict) or any(type(n) is not int or n < 1 for n in series.values()):
        raise DataFormatError(f"the attribute series must count images by name; got {text[:80]}")
    if math.prod(series.values()) != n_images:
        raise DataFormatError(f"the attribute series {text[:80]} does not count {n_images} images")
    return series


def _what_it_says(file: Hdf5, path: Path, kspace: Tensor) -> dict[str, Any]:
    """All of a scan but its samples; of `kspace` only where it is zero counts."""
    header = _header(file)
    mask = detect_mask(kspace)
    if "mask" in file.datasets:
        mask = stored_mask(file.datasets["mask"].load(), kspace, header)
    shape, spacing = _geometry(file, header, kspace)
    return {
        "mask": mask,
        "noise_std": float(file.attributes["noise_std"]) if "noise_std" in file.attributes else None,
        "readout_axis": -2,
        "image_shape": shape,
        "spacing_mm": spacing,
        "thickness_mm": header.thickness if header else None,
        "name": scan_name(path),
        "header": {k: v for k, v in file.attributes.items() if k != "notes"} | (dict(header.info) if header else {}),
    }


def stored_mask(stored: Array, kspace: Tensor, header: MrdHeader | None) -> Tensor:
    """The mask (y, x) of a file that stores it as (x,) or (y, x), false in the padding of the phase
    encoding.
    """
    if stored.dtype.kind == "c" or not np.isfinite(stored).all():
        raise DataFormatError("the mask must be real and hold no NaN or Inf")
    mask = torch.from_numpy(np.ascontiguousarray(stored.squeeze() != 0))
    height, width = kspace.shape[-2:]
    if tuple(mask.shape) not in ((width,), (height, width)):
        raise DataFormatError(
            f"the mask must have the size ({width},) or {(height, width)} of k-space; got {stored.shape}"
        )
    mask = mask.expand(height, width) & measured_columns(header, width)
    check_limits(mask, (kspace != 0).any(0).any(0), header)
    return mask.contiguous()


def check_limits(mask: Tensor, sampled: Tensor, header: MrdHeader | None) -> None:
    """Raise DataFormatError if columns outside encodingLimits hold samples, or acquired ones beside these none."""
    filled, acquired = (points.any(0).nonzero()[:, 0] for points in (sampled, mask))
    if not header or PHASE not in header.limits or not len(filled):
        return
    limits, width = header.limits[PHASE], mask.shape[1]
    allowed = measured_columns(header, width).nonzero()[:, 0]
    outside = not len(allowed) or filled[0] < allowed[0] or filled[-1] > allowed[-1]
    if outside or (len(acquired) and (acquired[0] < filled[0] or acquired[-1] > filled[-1])):
        raise DataFormatError(
            f"encodingLimits (minimum {limits.minimum}, maximum {limits.maximum}, center {limits.center}) and the mask "
            f"contradict the data: of {width} columns, k-space has samples in {int(filled[0])} to {int(filled[-1])}"
        )


def measured_columns(header: MrdHeader | None, width: int) -> Tensor:
    """The columns (x,) between the padding: left = y // 2 - center, right = left + maximum + 1."""
    measured = torch.ones(width, dtype=torch.bool)
    if header and PHASE in header.limits and header.encoded_matrix[1] == width:
        limits = header.limits[PHASE]
        left = max(0, width // 2 - limits.center)
        measured[:left] = False
        measured[width // 2 - limits.center + limits.maximum + 1 :] = False
    return measured


def read_target(path: Path) -> Tensor | None:
    """The reference magnitude float32 (slice, y, x) that the file holds, if any."""
    file = survey(path).datasets
    found = next((file[name].load() for name in TARGETS if name in file), None)
    if found is None:
        return None
    if found.ndim != 3 or np.iscomplexobj(found):
        raise DataFormatError(f"the target must be real (slice, y, x); got {found.dtype} {found.shape}")
    return torch.from_numpy(np.array(found, dtype=np.float32))


def write_fastmri(
    path: str | Path,
    scan: Scan,
    target: Tensor | None = None,
) -> None:
    """Write a scan in the fastMRI layout, so that this package and fastMRI's own tools read it.

    `target` (slice, y, x): its magnitude becomes `reconstruction_rss`. The mask is written only if there are
    points that were not acquired: as (x,) if it consists of whole columns, else as (y, x). A scan whose readout is x is
    turned: the layout has it along y.

    Raises ConfigError for a scan whose images have masks of their own, LaminarError if the file cannot be written;
    nothing is left behind then.
    """
    if scan.mask.ndim == 3 and not bool((scan.mask == scan.mask[:1]).all()):
        raise ConfigError("the fastMRI layout has one mask for all images; this scan has one of each")
    if scan.grid.readout_axis == -1:
        scan, target = _turned(scan), None if target is None else target.mT
    with writing_hdf5(Path(path)) as file:
        _write(file, scan, target)


def _turned(scan: Scan) -> Scan:
    """The scan with y and x changed about; where its slices lie is not said any more."""
    return replace(
        scan,
        data=scan.kspace.mT,
        geometry=Cartesian(scan.mask.mT, -2),
        sensitivities=None if scan.sensitivities is None else scan.sensitivities.mT,
        image_shape=scan.image_shape and (scan.image_shape[1], scan.image_shape[0]),
        spacing_mm=scan.spacing_mm and (scan.spacing_mm[1], scan.spacing_mm[0]),
        placements=None,
    )


def _write(file: h5py.File, scan: Scan, target: Tensor | None) -> None:
    file["kspace"] = scan.kspace.numpy(force=True)
    file["ismrmrd_header"] = np.bytes_(header_xml(scan).encode())
    mask = scan.grid.common_mask.cpu()
    if not bool(mask.all()):
        by_column = bool((mask == mask[:1]).all())
        file["mask"] = (mask[0] if by_column else mask).numpy()
    if scan.sensitivities is not None:
        file["sensitivities"] = scan.sensitivities.numpy(force=True)
    if scan.noise_std is not None:
        file.attrs["noise_std"] = scan.noise_std
    if scan.series:
        file.attrs["series"] = json.dumps(dict(scan.series))
    file.attrs["acquisition"] = str(scan.header.get("acquisition", "unknown"))
    file.attrs["patient_id"] = str(scan.header.get("patient_id", scan.name))
    if target is not None:
        magnitude = target.detach().cpu().abs().float()
        file["reconstruction_rss"] = magnitude.numpy()
        file.attrs["max"] = float(magnitude.max())
        file.attrs["norm"] = float(magnitude.norm())


HEADER = """<?xml version="1.0" encoding="utf-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
  <experimentalConditions><H1resonanceFrequency_Hz>0</H1resonanceFrequency_Hz></experimentalConditions>
  <encoding>
    <encodedSpace>{encoded}</encodedSpace>
    <reconSpace>{recon}</reconSpace>
    <encodingLimits>
      <kspace_encoding_step_1><minimum>0</minimum><maximum>{maximum}</maximum><center>{center}</center></kspace_encoding_step_1>
    </encodingLimits>
    <trajectory>cartesian</trajectory>
  </encoding>
</ismrmrdHeader>
"""


def header_xml(scan: Scan) -> str:
    """A minimal ISMRMRD header: its x is the axis y (readout) of the scan, its y the axis x."""
    columns = scan.grid.common_mask.any(0).nonzero()
    first, last = int(columns.min()), int(columns.max())
    spacing, thickness = scan.spacing_mm or (0.0, 0.0), scan.thickness_mm or 0.0  # zero: not known
    height, width = scan.matrix
    return HEADER.format(
        encoded=space((height, width), spacing, thickness),
        recon=space(scan.image_shape or (height, width), spacing, thickness),
        maximum=last - first,
        center=width // 2 - first,
    )


def space(size: tuple[int, int], spacing: tuple[float, float], thickness: float) -> str:
    x, y = size
    fov_x, fov_y = x * spacing[0], y * spacing[1]
    return (
        f"<matrixSize><x>{x}</x><y>{y}</y><z>1</z></matrixSize>"
        f"<fieldOfView_mm><x>{fov_x!r}</x><y>{fov_y!r}</y><z>{thickness!r}</z></fieldOfView_mm>"
    )


def _header(file: Hdf5) -> MrdHeader | None:
    text = file.datasets.get("ismrmrd_header")
    return None if text is None else parse_header(text.text())


def _geometry(
    file: Hdf5, header: MrdHeader | None, kspace: Tensor
) -> tuple[tuple[int, int] | None, tuple[float, float] | None]:
    target = next((file.datasets[name].shape for name in TARGETS if name in file.datasets), None)
    matrix = target[-2:] if target else header.recon_matrix[:2] if header else None
    shape = None if matrix is None else (min(matrix[0], kspace.shape[-2]), min(matrix[1], kspace.shape[-1]))
    x, y = (header.spacing(0), header.spacing(1)) if header else (None, None)
    return shape, None if x is None or y is None else (x, y)


FORMAT = Format(fits, hdf5_variables, stream)
