"""Small valid files of every format, written by other software than ours where there is any."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import ismrmrd
import numpy as np
import numpy.typing as npt
import scipy.io
import torch

from laminar.data.formats import write_fastmri
from laminar.scan import cartesian

Complex = npt.NDArray[np.complexfloating]


def random_kspace(*shape: int, seed: int = 0) -> npt.NDArray[np.complex64]:
    """Complex Gaussian numbers: no symmetry, no zeros."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


def write_npy(path: Path, array: Complex) -> None:
    np.save(path, array)


def write_npz(path: Path, array: Complex) -> None:
    np.savez_compressed(path, kspace=array, note=np.arange(3))


def write_mat5(path: Path, array: Complex) -> None:
    scipy.io.savemat(path, {"kspace": array, "mask": np.ones(4)}, do_compression=True)


def write_mat73(path: Path, array: Complex) -> None:
    """As MATLAB does: text in a user block, axes reversed, compound real/imag, the class as an attribute."""
    pairs = np.empty(array.T.shape, dtype=[("real", "f8"), ("imag", "f8")])
    pairs["real"], pairs["imag"] = array.T.real, array.T.imag
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("kspace", data=pairs, compression="gzip").attrs["MATLAB_class"] = np.bytes_("double")
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def write_h5(path: Path, array: Complex) -> None:
    with h5py.File(path, "w") as file:
        file["scans/kspace"] = array
        file["scans/note"] = np.arange(3)


def write_cfl(path: Path, array: Complex) -> None:
    path.write_bytes(array.astype("<c8").tobytes(order="F"))
    path.with_suffix(".hdr").write_text(f"# Dimensions\n{' '.join(map(str, array.shape))}\n# Command\nnone\n")


ARRAY_WRITERS: dict[str, Callable[[Path, Complex], None]] = {
    ".npy": write_npy,
    ".npz": write_npz,
    ".v5.mat": write_mat5,
    ".v73.mat": write_mat73,
    ".h5": write_h5,
    ".cfl": write_cfl,
}

MRD_HEADER = """<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
<acquisitionSystemInformation><systemVendor>none</systemVendor>
<relativeReceiverNoiseBandwidth>{bandwidth}</relativeReceiverNoiseBandwidth></acquisitionSystemInformation>
<experimentalConditions><H1resonanceFrequency_Hz>1</H1resonanceFrequency_Hz></experimentalConditions>
<encoding><encodedSpace><matrixSize><x>{x}</x><y>{y}</y><z>{z}</z></matrixSize>
<fieldOfView_mm><x>{fov_x}</x><y>200</y><z>100</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>{recon_x}</x><y>{y}</y><z>{z}</z></matrixSize>
<fieldOfView_mm><x>200</x><y>200</y><z>100</z></fieldOfView_mm></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>{first}</minimum><maximum>{last}</maximum><center>{center}</center>
</kspace_encoding_step_1></encodingLimits><trajectory>{trajectory}</trajectory>
<parallelImaging><accelerationFactor><kspace_encoding_step_1>2</kspace_encoding_step_1>
<kspace_encoding_step_2>1</kspace_encoding_step_2></accelerationFactor>
<calibrationMode>{calibration}</calibrationMode></parallelImaging></encoding></ismrmrdHeader>"""


def mrd_header(x: int, y: int, z: int = 1, **more: object) -> str:
    """A header of twofold readout oversampling whose central line is y // 2 unless told otherwise."""
    values: dict[str, object] = {
        "bandwidth": 1,
        "fov_x": 400,
        "recon_x": x // 2,
        "first": 0,
        "last": y - 1,
        "center": y // 2,
    }
    values |= {"trajectory": "cartesian", "calibration": "embedded", **more}
    return MRD_HEADER.format(x=x, y=y, z=z, **values)


def readout(data: Complex, line: int, *flags: int, center: int | None = None, **idx: int) -> ismrmrd.Acquisition:
    """One readout (coil, sample) at a line of kspace_encode_step_1."""
    made = ismrmrd.Acquisition.from_array(np.ascontiguousarray(data, dtype=np.complex64))
    made.center_sample = data.shape[-1] // 2 if center is None else center
    made.sample_time_us = 2.0
    made.idx.kspace_encode_step_1 = line
    for name, value in idx.items():
        setattr(made.idx, name, value)
    for flag in flags:
        made.setFlag(flag)
    return made


def write_mrd(path: Path, header: str, readouts: Sequence[ismrmrd.Acquisition]) -> None:
    with ismrmrd.File(str(path), "w") as file:
        dataset = file["dataset"]
        dataset.header = ismrmrd.xsd.CreateFromDocument(header)
        dataset.acquisitions = list(readouts)


def write_small_mrd(path: Path) -> None:
    """Two slices, two coils, a noise scan."""
    kspace = random_kspace(2, 2, 6, 8)
    lines = [readout(kspace[s, :, y], y, slice=s) for s in range(2) for y in range(6)]
    write_mrd(path, mrd_header(8, 6), [readout(random_kspace(2, 64), 0, ismrmrd.ACQ_IS_NOISE_MEASUREMENT), *lines])


def write_small_fastmri(path: Path) -> None:
    kspace = torch.from_numpy(random_kspace(2, 2, 8, 6))
    mask = torch.tensor([False, True, False, True, True, True]).expand(8, 6)
    write_fastmri(path, cartesian(kspace * mask, mask, image_shape=(4, 6)), kspace[:, 0].abs())


def write_mrd2(
    path: Path,
    kspace: Complex,
    skip: Sequence[int] = (),
    noise: Complex | None = None,
    limits: tuple[int, int, int] | None = None,
    grid: int | None = None,
) -> None:
    """An MRD version 2 stream of slices (slice, coil, y, x) without some lines, by the package of the format.

    `limits` are minimum, maximum and center of the lines, `grid` is how many the header says there are.
    """
    import mrd

    _, coils, height, width = kspace.shape
    space = mrd.EncodingSpaceType(
        matrix_size=mrd.MatrixSizeType(x=width, y=grid or height, z=1),
        field_of_view_mm=mrd.FieldOfViewMm(x=400, y=200, z=5),
    )
    seen = mrd.EncodingSpaceType(
        matrix_size=mrd.MatrixSizeType(x=width // 2, y=height, z=1),
        field_of_view_mm=mrd.FieldOfViewMm(x=200, y=200, z=5),
    )
    first, last, center = limits or (0, height - 1, height // 2)
    lines = mrd.LimitType(minimum=first, maximum=last, center=center)
    encoding = mrd.EncodingType(
        encoded_space=space, recon_space=seen, encoding_limits=mrd.EncodingLimitsType(kspace_encoding_step_1=lines)
    )

    def item(data: Complex, **idx: int) -> mrd.StreamItem:
        made = mrd.Acquisition(data=np.ascontiguousarray(data, np.complex64))
        made.head.channel_order = list(range(coils))
        made.head.center_sample = data.shape[1] // 2
        made.head.idx = mrd.EncodingCounters(**idx)
        if not idx:
            made.head.flags = mrd.AcquisitionFlags.IS_NOISE_MEASUREMENT
        return mrd.StreamItem.Acquisition(made)

    items = [] if noise is None else [item(noise)]
    for index, one in enumerate(kspace):
        items += [item(one[:, y], kspace_encode_step_1=y, slice=index) for y in range(height) if y not in skip]
    with mrd.BinaryMrdWriter(str(path)) as writer:
        writer.write_header(mrd.Header(encoding=[encoding]))
        writer.write_data(items)


def write_radial_mrd2(path: Path, spokes: Complex, points: npt.NDArray[Any], side: int) -> None:
    """An MRD version 2 stream of spokes (spoke, coil, sample) at points (spoke, sample, kx and ky)."""
    import mrd

    space = mrd.EncodingSpaceType(
        matrix_size=mrd.MatrixSizeType(x=side, y=side, z=1),
        field_of_view_mm=mrd.FieldOfViewMm(x=200, y=200, z=100),
    )
    encoding = mrd.EncodingType(encoded_space=space, recon_space=space, trajectory=mrd.Trajectory.RADIAL)
    acquisitions = [
        mrd.Acquisition(data=data, trajectory=np.ascontiguousarray(places.T, np.float32))
        for data, places in zip(spokes.astype(np.complex64), points, strict=True)
    ]
    with mrd.BinaryMrdWriter(str(path)) as writer:
        writer.write_header(mrd.Header(encoding=[encoding]))
        writer.write_data(map(mrd.StreamItem.Acquisition, acquisitions))


SIEMENS_PROTOCOL = """### ASCCONV BEGIN ###
sKSpace.lBaseResolution = {base}
sKSpace.lPhaseEncodingLines = {lines}
sKSpace.ucTrajectory = {trajectory}
sSliceArray.asSlice[0].dReadoutFOV = 200
sSliceArray.asSlice[0].dPhaseFOV = 200
sSliceArray.asSlice[0].dThickness = 5
sRXSPEC.alDwellTime[0] = 2000
sPat.ucRefScanMode = 2
### ASCCONV END ###"""


def write_siemens(
    path: Path, kspace: Complex, noise: Complex | None = None, missing: int = 0, trajectory: int = 1
) -> None:
    """Siemens raw data (VD) of slices (slice, coil, y, x) whose first lines are `missing`, by `twixtools`.

    The noise scan is a measurement before, as the scanner's adjustment is. `trajectory` 1 is Cartesian, 2 radial.
    """
    import twixtools
    from twixtools.mdb import Mdb_local

    _, _, height, width = kspace.shape
    text = SIEMENS_PROTOCOL.format(base=width // 2, lines=height, trajectory=trajectory).encode()
    buffer = b"MeasYaps\x00" + len(text).to_bytes(4, "little") + text
    start = (8 + len(buffer)).to_bytes(4, "little") + (1).to_bytes(4, "little") + buffer

    def block(data: Complex, line: int, index: int, *flags: str) -> Mdb_local:
        made = Mdb_local(np.ascontiguousarray(data, np.complex64))
        made.mdh.CenterCol, made.mdh.CenterLin = width // 2, height // 2 - missing
        made.mdh.Counter.Lin, made.mdh.Counter.Sli = line, index
        for flag in flags:
            made.add_flag(flag)
        return made

    def scan(blocks: list[Mdb_local]) -> dict[str, object]:
        return {"hdr_str": np.frombuffer(start, "S1"), "mdb": blocks}

    scans = [] if noise is None else [scan([block(noise, 0, 0, "NOISEADJSCAN")])]
    lines = range(missing, height)
    scans.append(scan([block(one[:, y], y - missing, s) for s, one in enumerate(kspace) for y in lines]))
    path.unlink(missing_ok=True)
    with contextlib.redirect_stdout(io.StringIO()):
        twixtools.write_twix(scans, str(path))


SCAN_WRITERS: dict[str, Callable[[Path], None]] = {
    ".mrd.h5": write_small_mrd,
    ".fastmri.h5": write_small_fastmri,
    ".mrd2": lambda path: write_mrd2(path, random_kspace(1, 2, 6, 8), noise=random_kspace(2, 16)),
    ".radial.mrd2": lambda path: write_radial_mrd2(path, random_kspace(3, 2, 8), random_kspace(3, 8, 2).real, 8),
    ".dat": lambda path: write_siemens(path, random_kspace(1, 2, 6, 8), noise=random_kspace(2, 16)),
}
"""Those whose files say their axes."""
