"""Files of strangers: nothing crashes, hangs or floods the program, and no other file than the named one is read."""

from __future__ import annotations

import io
import os
import struct
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from scan_files import random_kspace, write_h5, write_npy

from benchmarks import mutants
from laminar.data.check import suspicions
from laminar.data.formats import describe, padding_note, partial_note, read, stream, write_fastmri
from laminar.data.formats.hdf5 import SANDBOX, survey
from laminar.data.formats.sampling import empty_ends
from laminar.data.formats.sandbox import Sandbox
from laminar.data.masks import make_mask
from laminar.data.simulation import simulate_slice
from laminar.errors import DataFormatError
from laminar.evaluation import read_volume
from laminar.operators import fft2c, ifft2c

AXES = "coil,ky,kx"
TRUTH = random_kspace(3, 6, 5)
Run = Callable[..., tuple[int, str, str]]


def refusal(action: Callable[..., object], path: Path, *rest: object, **options: str) -> str:
    with pytest.raises(DataFormatError) as caught:
        action(path, *rest, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_mutants_of_every_format() -> None:
    ends = list(mutants.attack(range(10 * len(mutants.WRITERS))))
    assert [end.number for end in ends] == list(range(10 * len(mutants.WRITERS)))
    assert not [end for end in ends if end.broke]


SCRIPT = """import json, os, signal, sys, time
for line in sys.stdin:
    what = json.loads(line)[0]
    if what == "crash": os.abort()
    if what == "hang": signal.alarm(1); time.sleep(60)
    if what == "lie": print("[", flush=True); sys.exit()
    print(json.dumps(["found", what, []]), flush=True)
"""


def test_a_process_that_crashes_hangs_or_lies_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    sandbox = Sandbox(tmp_path / "script.py")
    for fault in ("crash", "hang", "lie"):
        with pytest.raises((DataFormatError, ValueError)):
            sandbox.ask(fault)
        assert sandbox.ask("fine") == ("fine", [])
    sandbox.stop()


LEAKING = """from laminar.data.formats.hdf5_worker import Answer, serve
kept = []
def leak():
    kept.append(b"x" * 2**28)
    raise OSError("broken")
serve({"leak": leak, "count": lambda: Answer(len(kept), [], iter(()))})
"""


def test_a_process_that_keeps_the_memory_of_what_failed_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(LEAKING)
    sandbox = Sandbox(tmp_path / "script.py")
    with pytest.raises(DataFormatError, match="broken"):
        sandbox.ask("leak")
    assert sandbox.ask("count") == (0, [])
    sandbox.stop()


def test_a_forked_child_has_a_sandbox_of_its_own(tmp_path: Path) -> None:
    write_h5(tmp_path / "a.h5", TRUTH)
    survey(tmp_path / "a.h5")
    before = SANDBOX.process_id
    child = os.fork()
    if not child:
        write_h5(tmp_path / "b.h5", TRUTH)
        # Not `read`: in a fork, torch may wait for the threads that it had before.
        sound = survey(tmp_path / "b.h5").groups == ["scans"] and SANDBOX.process_id != before
        SANDBOX.stop()
        os._exit(0 if sound else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert SANDBOX.process_id == before
    assert SANDBOX.ask("survey", str(tmp_path / "a.h5"))[0]["groups"] == ["scans"]


def test_only_the_named_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(TRUTH.tobytes())
    write_h5(tmp_path / "other.h5", TRUTH)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["linked"] = h5py.ExternalLink("other.h5", "/scans/kspace")
        file.create_dataset("stored", (3, 6, 5), "c8", external=[(str(tmp_path / "secret"), 0, h5py.h5f.UNLIMITED)])
        layout = h5py.VirtualLayout((3, 6, 5), "c8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "scans/kspace", (3, 6, 5))
        file.create_virtual_dataset("virtual", layout)
        file["own"] = TRUTH
    for name in ("linked", "stored", "virtual"):
        assert "not named" in refusal(read, tmp_path / "a.h5", variable=name, axes=AXES)
    assert read(tmp_path / "a.h5", variable="own", axes=AXES).n_coils == 3


def test_pipes_are_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.h5")
    os.mkfifo(tmp_path / "b.cfl")
    (tmp_path / "b.hdr").write_text("# Dimensions\n3 4\n")
    assert "not a file" in refusal(read, tmp_path / "a.h5")
    assert "no regular file" in refusal(read, tmp_path / "b.cfl")
    assert "no regular file" in refusal(read_volume, tmp_path / "a.h5", "reconstruction")


def test_what_is_no_hdf5_and_what_is_cut_is_said_in_plain_words(tmp_path: Path) -> None:
    picture, path, damaged = tmp_path / "a.png", tmp_path / "a.h5", tmp_path / "b.h5"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(500))
    assert refusal(survey, picture) == "no HDF5 file"
    assert refusal(read_volume, picture, "image") == f"{picture}: no HDF5 file"
    write_h5(path, TRUTH)
    whole = path.read_bytes()
    damaged.write_bytes(whole.replace(b"HEAP", b"HEAT"))
    path.write_bytes(whole[:700])
    said = f"truncated or corrupt (it has 700 of its {len(whole)} bytes)"
    assert refusal(read, path) == f"{path}: {said}"
    assert refusal(survey, damaged) == "truncated or corrupt (bad local heap signature)"


def test_what_unpacks_to_far_more_than_it_is(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("reconstruction", (4000, 4000, 1000), "f4", chunks=(1, 1000, 1000), compression="gzip")
        file.create_dataset("kspace", (500, 1000, 1000), "c8", chunks=(500, 1000, 1000))
    assert "more than the file can hold" in refusal(read_volume, tmp_path / "a.h5", "reconstruction")
    assert "more than the file can hold" in refusal(read, tmp_path / "a.h5", axes=AXES)

    zeros = np.zeros((1, 6000, 6000), np.complex64)
    np.savez_compressed(tmp_path / "a.npz", kspace=zeros)
    assert "claims" in refusal(read, tmp_path / "a.npz", axes=AXES)
    packed = zlib.compress(bytes(2**28))
    header = b"MATLAB 5.0".ljust(124) + b"\x00\x01IM"
    (tmp_path / "a.mat").write_bytes(header + struct.pack("<II", 15, len(packed)) + packed)
    assert "claims" in refusal(read, tmp_path / "a.mat")


def test_an_object_beside_kspace_is_passed_over(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", kspace=TRUTH, note=np.array([{"a": 1}], object))
    assert torch.equal(read(tmp_path / "a.npz", axes=AXES).kspace[0], torch.from_numpy(TRUTH))
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:  # a header that claims more than there is
        content = io.BytesIO()
        np.lib.format.write_array_header_1_0(content, {"descr": "<c8", "fortran_order": False, "shape": (10**5, 10**6)})
        archive.writestr("kspace.npy", content.getvalue())
    assert "claims" in refusal(read, tmp_path / "b.npz")


def test_deep_nests_are_bounded(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["/".join("a" * 1000) + "/kspace"] = TRUTH
        file["a"]["loop"] = file["a"]
    assert "groups more than 32 deep" in refusal(describe, tmp_path / "a.h5")
    nest = b""
    for _ in range(200):
        flags, sizes = struct.pack("<IIII", 6, 8, 2, 0), struct.pack("<IIii", 5, 8, 1, 1)
        body = flags + sizes + struct.pack("<II", 1, 0) + struct.pack("<HHi", 5, 4, 8)
        body += struct.pack("<II", 1, 8) + b"field".ljust(8, b"\0") + nest
        nest = struct.pack("<II", 14, len(body)) + body
    (tmp_path / "a.mat").write_bytes(b"MATLAB 5.0".ljust(124) + b"\x00\x01IM" + nest)
    assert "deep" in refusal(describe, tmp_path / "a.mat")


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    scan = simulate_slice("brain", (32, 32), 2, 0.01, torch.Generator().manual_seed(0))
    mask = torch.ones(32, 32, dtype=torch.bool)
    from laminar.scan import cartesian

    write_fastmri(tmp_path / "a.h5", cartesian(scan.kspace[None], mask))
    lazy = stream(tmp_path / "a.h5")
    assert lazy.slice(0).n_coils == 2
    os.utime(tmp_path / "a.h5", (time.time() + 9, time.time() + 9))
    assert "changed" in refusal(lambda path: lazy.slice(0), tmp_path / "a.h5")


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path, laminar: Run) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["kspace"], file["na\x1b]0;title\x07me"] = TRUTH[None], TRUTH
        file.attrs["acquisition"] = "\x1b[2J"
    code, out, err = laminar("info", tmp_path / "a.h5")
    assert "\\x1b" in out
    assert not {"\x1b", "\x07"} & set(out + err)
    code, out, err = laminar("info", tmp_path / "a.h5", "--variable", "\x1b[2J")
    assert code == 2
    assert "\x1b" not in out + err


def test_reading_in_threads_leaves_the_warnings_alone(tmp_path: Path) -> None:
    write_npy(tmp_path / "a.npy", TRUTH)
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: read(tmp_path / "a.npy", axes=AXES), range(200)))
    assert list(warnings.filters) == before


def test_images_of_coils_are_refused_or_transformed(tmp_path: Path, laminar: Run) -> None:
    kspace = simulate_slice("brain", (64, 48), 3, 0.01, torch.Generator().manual_seed(0)).kspace
    write_npy(tmp_path / "k.npy", kspace.numpy())
    write_npy(tmp_path / "images.npy", ifft2c(kspace).numpy())
    assert read(tmp_path / "k.npy", axes=AXES).n_coils == 3
    assert "--domain image" in refusal(read, tmp_path / "images.npy", axes=AXES)
    found = read(tmp_path / "images.npy", axes=AXES, domain="image")
    torch.testing.assert_close(found.kspace[0], fft2c(ifft2c(kspace)))
    read(tmp_path / "images.npy", axes=AXES, domain="kspace")
    common = ("reconstruct", tmp_path / "images.npy", "--axes", AXES, "--method", "zero-filled", "--out", tmp_path)
    assert laminar(*common)[0] == 2
    assert laminar(*common, "--domain", "image")[0] == 0


def test_undersampling_is_no_padding_and_partial_fourier_none() -> None:
    """One criterion for what is said on the command line and found in a data set."""
    kinds = ("random", "equispaced", "equispaced-fraction", "gaussian")
    masks = [make_mask(kind, (96, 128), rate, 12, seed) for kind in kinds for rate in (2, 4, 6) for seed in range(10)]
    said = [(padding_note(mask), partial_note(mask)) for mask in masks]
    assert said.count((None, None)) >= len(said) - 1
    partial = masks[0].clone()
    partial[:24] = False
    assert empty_ends(partial) == {"y": (24, 0)}
    assert padding_note(partial) is None
    assert "72 of 96 along y: partial Fourier" in str(partial_note(partial))
    partial[:, 100:] = partial[:, :20] = False
    assert suspicions(torch.ones(2, 96, 128) * partial + 0j, partial, 1.0).keys() >= {"partial", "zero-padded"}


def test_an_axis_of_a_wrong_name_is_refused(tmp_path: Path) -> None:
    kspace = simulate_slice("brain", (64, 48), 4, 0.01, torch.Generator().manual_seed(0)).kspace
    write_npy(tmp_path / "a.npy", kspace.numpy())
    line = refusal(read, tmp_path / "a.npy", axes="ky,kx,coil")
    assert "48 coils and a matrix of 4 x 64: another axis is that of the coils" in line
    assert read(tmp_path / "a.npy", axes="ky,kx,coil", domain="kspace").n_coils == 48


def test_zero_padding_is_said(tmp_path: Path, laminar: Run) -> None:
    kspace = simulate_slice("brain", (64, 48), 3, 0.01, torch.Generator().manual_seed(0)).kspace
    write_npy(tmp_path / "a.npy", torch.nn.functional.pad(kspace, (12, 12, 16, 16)).numpy())
    said = "k-space is zero-padded by 16 + 16 lines along y and 12 + 12 lines along x: R = 1.00 over the rest, 2.25"
    assert said in laminar("info", tmp_path / "a.npy", "--axes", AXES)[1]
    code, out, _ = laminar("reconstruct", tmp_path / "a.npy", "--axes", AXES, "--method", "zero-filled",
                           "--out", tmp_path)  # fmt: skip
    assert code == 0
    assert said in out
