"""The process that reads readouts of strangers with the packages of their formats: MRD version 2, Siemens raw data.

A script as `hdf5_worker.py` is, with the same limits and the same answers: a header as plain values, and the heads,
the numbers of floats and the floats of all readouts and of their trajectories, as ISMRMRD has them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

# At the end: no module beside this one may hide a package.
sys.path.append(str(Path(__file__).parent))
if TYPE_CHECKING:
    from laminar.data.formats.hdf5_worker import Answer, Array, Refusal, limited, serve
else:
    from hdf5_worker import Answer, Array, Refusal, limited, serve

COUNTERS = (
    *("kspace_encode_step_1", "kspace_encode_step_2", "average", "slice"),
    *("contrast", "phase", "repetition", "set", "segment"),
)
NUMBERS = (
    *("number_of_samples", "active_channels", "discard_pre", "discard_post", "center_sample"),
    *("encoding_space_ref", "trajectory_dimensions"),
)
VECTORS = ("position", "read_dir", "phase_dir", "slice_dir")
HEAD = np.dtype(
    [
        ("flags", "<u8"),
        *((name, "<u4") for name in NUMBERS),
        ("sample_time_us", "<f4"),
        *((name, "<f4", 3) for name in VECTORS),
        ("idx", [(name, "<u4") for name in COUNTERS]),
    ]
)
AXES = "xyz"
Readout = tuple[Any, Array, Array]
"""A head, samples (coil, n), and where they lie (n, dimension); of a readout without a trajectory no points."""
NO_POINTS: Array = np.empty((0, 0), np.float32)
MOST_READOUTS = 20_000_000


def answer(header: dict[str, Any], readouts: Iterable[Readout], size: int) -> Answer:
    """What is told of readouts that lie in `size` bytes."""
    heads, floats, places, total = list[Any](), list[Array](), list[Array](), 0
    for head, samples, points in readouts:
        heads.append(head)
        floats.append(np.ascontiguousarray(samples, np.complex64).view(np.float32).reshape(-1))
        places.append(np.asarray(points, np.float32).reshape(-1))
        total += len(floats[-1]) + len(places[-1])
        if 4 * total > 2 * size or len(heads) > MOST_READOUTS:
            raise Refusal(f"the readouts claim more than the {size} bytes of the file")
    counts = np.array([[len(one) for one in part] for part in (floats, places)], np.int64)
    table: Array = np.array(heads, HEAD) if heads else np.empty(0, HEAD)
    arrays = [(HEAD, table.shape), (counts.dtype, counts.shape), (np.dtype(np.float32), (total,))]
    return Answer(header, arrays, iter([table, counts, *floats, *places]))


def mrd2(path: str) -> Answer:
    """The readouts of an MRD version 2 stream, by the package `mrd-python`."""
    import mrd

    size = Path(path).stat().st_size
    with limited(size), mrd.BinaryMrdReader(path) as reader:
        header = reader.read_header()
        if header is None or not header.encoding:
            raise Refusal("the stream has no header with an encoding")
        readouts = [
            _mrd2_readout(item.value) for item in reader.read_data() if isinstance(item, mrd.StreamItem.Acquisition)
        ]
        return answer(_mrd2_header(header), readouts, size)


def _mrd2_readout(readout: Any) -> Readout:
    said, points, (coils, n) = readout.head, readout.trajectory.T, readout.data.shape
    head = np.zeros((), HEAD)
    head["flags"] = int(said.flags)
    head["trajectory_dimensions"] = points.shape[1]
    head["number_of_samples"], head["active_channels"] = n, coils
    head["center_sample"] = n // 2 if said.center_sample is None else said.center_sample
    for name in ("discard_pre", "discard_post", "encoding_space_ref"):
        head[name] = getattr(said, name) or 0
    head["sample_time_us"] = _dwell_us(said)
    for name in VECTORS:
        head[name] = getattr(said, name)
    for name in COUNTERS:
        head["idx"][name] = getattr(said.idx, name) or 0
    return head[()], readout.data, points


def _dwell_us(said: Any) -> float:
    """The time of a sample, which mrd-python gives in nanoseconds from version 2.2 on; 0 if it is not told."""
    nanoseconds = getattr(said, "sample_time_ns", None)
    return nanoseconds / 1000 if nanoseconds else getattr(said, "sample_time_us", None) or 0.0


def _mrd2_header(header: Any) -> dict[str, Any]:
    encoding, system, sequence = header.encoding[0], header.acquisition_system_information, header.sequence_parameters
    limits = {}
    for name in ("kspace_encoding_step_1", "kspace_encoding_step_2", "average"):
        if (found := getattr(encoding.encoding_limits, name)) is not None:
            limits[name] = [found.minimum, found.maximum, found.center]
    mode = encoding.parallel_imaging and encoding.parallel_imaging.calibration_mode
    told = {
        "vendor": system and system.system_vendor,
        "model": system and system.system_model,
        "field_strength_t": system and system.system_field_strength_t,
        "protocol": header.measurement_information and header.measurement_information.protocol_name,
        "sequence": sequence and sequence.sequence_type,
    }
    lists = {"tr_ms": "t_r", "te_ms": "t_e", "ti_ms": "t_i", "flip_angle_deg": "flip_angle_deg"}
    told |= {name: next(iter(getattr(sequence, field)), None) for name, field in lists.items() if sequence}
    spaces = {"encoded": encoding.encoded_space, "recon": encoding.recon_space}
    return {
        **{f"{name}_matrix": [getattr(space.matrix_size, axis) for axis in AXES] for name, space in spaces.items()},
        **{
            f"{name}_fov_mm": [getattr(space.field_of_view_mm, axis) for axis in AXES] for name, space in spaces.items()
        },
        "limits": limits,
        "trajectory": encoding.trajectory.name.lower(),
        "calibration_mode": "" if mode is None else mode.name.lower(),
        "noise_bandwidth": (system and system.relative_receiver_noise_bandwidth) or 1.0,
        "info": {name: value for name, value in told.items() if value is not None},
    }


# Bits of ISMRMRD's flags, from 1, by their names in Siemens raw data.
FLAGS = {
    "NOISEADJSCAN": 19,
    "PATREFSCAN": 20,
    "PATREFANDIMASCAN": 21,
    "REFLECT": 22,
    "PHASCOR": 24,
    "HPFEEDBACK": 26,
    "RTFEEDBACK": 28,
    "REFPHASESTABSCAN": 30,
    "PHASESTABSCAN": 31,
    "LASTSCANINSLICE": 8,
}
SIEMENS_COUNTERS = dict(zip(COUNTERS, ("Lin", "Par", "Ave", "Sli", "Eco", "Phs", "Rep", "Set", "Seg"), strict=True))


def siemens(path: str, measurement: int | None) -> Answer:
    """The readouts of one measurement of a `.dat` file, the last if none is named, by the package `twixtools`.

    The noise scans of measurements before it come first.
    """
    import twixtools

    size = Path(path).stat().st_size
    twixtools.mdb.Mdb = _bounded_blocks()
    with limited(size):
        found = twixtools.read_twix(
            path, parse_pmu=False, parse_geometry=False, verbose=False, keep_syncdata=False, keep_acqend=True
        )
        if not found or not -len(found) <= (measurement or 0) < len(found):
            raise Refusal(f"the file holds {len(found)} measurements, numbered from 0; got {measurement}")
        chosen = len(found) - 1 if measurement is None else measurement
        blocks = [
            block for one in found[:chosen] for block in _complete(one["mdb"]) if block.is_flag_set("NOISEADJSCAN")
        ]
        blocks += _complete(found[chosen]["mdb"])
        header = _siemens_header(found[chosen], len(found), chosen)
        return answer(header, [_siemens_readout(block, header) for block in blocks], size)


@cache  # built on the class of the package, not on itself
def _bounded_blocks() -> Any:
    """The package's class of a block, for blocks of at least one byte that end in the file.

    The package follows the lengths that blocks claim: with none it stays where it is, past the end it reads zeros.
    """
    from twixtools.mdb import Mdb

    class Bounded(Mdb):  # type: ignore[misc]
        def __init__(self, fid: Any = None, version_is_ve: bool = True) -> None:
            start, size = fid.tell(), os.fstat(fid.fileno()).st_size
            try:
                super().__init__(fid, version_is_ve)
            except ValueError:  # the package would give the block before it once more
                raise Refusal("it ends in the middle of a readout") from None
            if not 0 < self.dma_len <= size - start:
                raise Refusal(f"the block at byte {start} of {size} claims {self.dma_len} bytes")

    return Bounded


def _complete(blocks: list[Any]) -> list[Any]:
    """The readouts before the end mark."""
    return [block for block in blocks if not block.is_flag_set("ACQEND")]


def _siemens_readout(block: Any, header: dict[str, Any]) -> Readout:
    said, data = block.mdh, np.atleast_2d(block.data)
    head = np.zeros((), HEAD)
    head["flags"] = sum(1 << (bit - 1) for name, bit in FLAGS.items() if block.is_flag_set(name))
    head["active_channels"], head["number_of_samples"] = data.shape
    head["center_sample"] = said.CenterCol
    head["discard_pre"], head["discard_post"] = said.CutOff.Pre, said.CutOff.Post
    head["sample_time_us"] = header["dwell_us"]
    for name, counter in SIEMENS_COUNTERS.items():
        head["idx"][name] = getattr(said.Counter, counter)
    return head[()], data, NO_POINTS


def _siemens_header(scan: dict[str, Any], count: int, chosen: int) -> dict[str, Any]:
    """What the protocol says of matrix and field of view; the central line and partition are those of the readouts."""
    protocol = scan["hdr"].get("MeasYaps") or scan["hdr"].get("Meas")
    images = [block.mdh for block in scan["mdb"] if block.is_image_scan() and not block.is_flag_set("PATREFSCAN")]
    if not isinstance(protocol, dict) or "sKSpace" not in protocol or not images:
        raise Refusal("the measurement has no protocol or no imaging readouts")
    space, first = protocol["sKSpace"], images[0]
    base = int(space["lBaseResolution"])
    lines, planes = (1 + max(int(getattr(one.Counter, name)) for one in images) for name in ("Lin", "Par"))
    width = 2 * base if max(one.SamplesInScan for one in images) > base else base
    height = _grid(int(space.get("lPhaseEncodingLines", lines)), lines, int(first.CenterLin))
    depth = _grid(int(space.get("lPartitions", planes)), planes, int(first.CenterPar)) if planes > 1 else 1
    part = (protocol.get("sSliceArray", {}).get("asSlice") or [{}])[0]
    fov_x, fov_y, fov_z = (float(part.get(name, 0)) for name in ("dReadoutFOV", "dPhaseFOV", "dThickness"))
    over_y = 1 + float(space.get("dPhaseOversamplingForDialog", 0) or 0)
    dwell = (protocol.get("sRXSPEC", {}).get("alDwellTime") or [0])[0]
    return {
        "encoded_matrix": [width, height, depth],
        "recon_matrix": [base, height, depth],
        "encoded_fov_mm": [fov_x * width / base, fov_y * over_y, fov_z],
        "recon_fov_mm": [fov_x, fov_y, fov_z],
        "limits": {
            "kspace_encoding_step_1": [0, lines - 1, int(first.CenterLin)],
            "kspace_encoding_step_2": [0, planes - 1, int(first.CenterPar)],
        },
        "trajectory": {1: "cartesian", 2: "radial", 4: "spiral"}.get(int(space.get("ucTrajectory", 1) or 1), "other"),
        "calibration_mode": {2: "embedded", 4: "separate"}.get(
            int(protocol.get("sPat", {}).get("ucRefScanMode", 0) or 0), ""
        ),
        "noise_bandwidth": 1.0,
        "dwell_us": float(dwell) / 1000,
        "info": {"vendor": "SIEMENS", "protocol": str(protocol.get("tProtocolName", ""))},
        "notes": [f"measurement {chosen} of 0 to {count - 1}: --variable names another"] if count > 1 else [],
    }


def _grid(said: int, counted: int, center: int) -> int:
    """The size of the grid: at least what the lines counted need around the central one."""
    return max(said, 2 * center, 2 * (counted - center))


if __name__ == "__main__":
    serve({"mrd2": mrd2, "siemens": siemens})
