"""The viewer end to end: files in, a page out that holds their values, and what its script makes of them."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from laminar.data.formats import write_fastmri
from laminar.data.simulation import simulate_slice
from laminar.errors import DataFormatError
from laminar.metrics import psnr
from laminar.models import RegularizerConfig, UnrolledConfig, UnrolledNetwork, save
from laminar.viewer import Server, gather
from laminar.viewer.volumes import load
from tests.viewer.browser import CHROMIUM, browser

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reference, and reconstructions of it: `flow.h5` with a trajectory, `drawn.h5` with intervals."""
    from laminar.cli.main import main

    folder = tmp_path_factory.mktemp("viewer")
    simulated = simulate_slice("brain", (48, 40), 3, 0.01, torch.Generator().manual_seed(0))
    write_fastmri(folder / "scan.h5", simulated.scan, simulated.target.abs())
    torch.manual_seed(0)
    regularizer = RegularizerConfig(channels=[4, 6])
    config = UnrolledConfig(n_cascades=2, shared=True, source_noise=0.2, see_source=True, regularizer=regularizer)
    save(UnrolledNetwork(config=config), folder / "model")
    for name, options in {"flow": ["--trajectory"], "drawn": ["--samples", "3", "--level", "0.8"]}.items():
        asked = ["--model", str(folder / "model"), "--acceleration", "3", "--calibration-lines", "8", *options]
        assert main(["reconstruct", str(folder / "scan.h5"), *asked, "--out", str(folder / name)]) == 0
        (folder / name / "scan.h5").rename(folder / f"{name}.h5")
    return folder


@pytest.fixture
def page(folder: Path, tmp_path: Path, laminar: Run) -> Path:
    files = (folder / "flow.h5", folder / "drawn.h5", "--reference", folder / "scan.h5")
    assert laminar("view", *files, "--export", tmp_path / "page.html")[0] == 0
    assert laminar("view", *files, "--export", tmp_path / "page.html")[0] == 0  # our own page may be written again
    return tmp_path / "page.html"


def told(html: str) -> Any:
    found = re.search(r'id="told">(.*?)</script>', html)
    assert found is not None
    return json.loads(found[1])


def values(html: str, where: dict[str, Any]) -> np.ndarray:
    found = re.search(rf'id="{where["id"]}">(.*?)</script>', html)
    assert found is not None
    integers = np.frombuffer(base64.b64decode(found[1]), "<u2")
    return where["low"] + integers * (where["high"] - where["low"]) / 65535


def test_the_page_holds_the_values_and_links_to_nothing(folder: Path, page: Path) -> None:
    html = page.read_text()
    assert not re.search(r"""(src|href)=|https?:|url\(|@import|fetch\(|import\(""", html)
    for kind in ("script", "style"):
        content = re.search(rf"<{kind}>(.*?)</{kind}>", html, re.DOTALL)
        assert content is not None
        allowed = base64.b64encode(hashlib.sha256(content[1].encode()).digest()).decode()
        assert f"{kind}-src &#x27;sha256-{allowed}&#x27;" in html
    flow, drawn = told(html)["files"]
    pairs = {"flow": {"states": "trajectory", "image": "reconstruction"}, "drawn": {"upper": "interval_upper"}}
    for name, parts in pairs.items():
        with h5py.File(folder / f"{name}.h5") as file:
            for kind, dataset in parts.items():
                expected = np.abs(file[dataset][()]).ravel()
                found = values(html, {"flow": flow, "drawn": drawn}[name][kind])
                np.testing.assert_allclose(found, expected, rtol=0, atol=0.51 * np.ptp(expected) / 65535)
    with h5py.File(folder / "scan.h5") as full, h5py.File(folder / "flow.h5") as file:
        truth, states = torch.from_numpy(full["reconstruction_rss"][()]), torch.from_numpy(file["trajectory"][()])
    expected_psnr = [psnr(state.abs(), truth, truth.max()).item() for state in states]
    np.testing.assert_allclose(np.ravel(flow["psnr"]), expected_psnr, rtol=1e-4)
    assert drawn["level"] == 0.8


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node, to run the page's script")
def test_the_script_answers_to_hand_and_key(folder: Path, page: Path) -> None:
    """Panes: reference, flow, drawn; then their errors; then their uncertainty. The canvas has twice the pixels."""
    hover = {"type": "pointermove", "pane": 1, "clientX": 41, "clientY": 49, "buttons": 0}  # row 24, column 20
    drag = {**hover, "buttons": 1, "movementX": 100, "movementY": 0}
    actions = [hover, drag, {"key": "r"}, {"key": "ArrowLeft"}, {"key": "ArrowLeft"}, {"key": "p"}, {"key": "e"}]
    command = ["node", str(Path(__file__).with_name("dom.js")), str(page), json.dumps(actions)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, dragged, reset, one, source, phase, no_errors = json.loads(done.stdout)
    with h5py.File(folder / "flow.h5") as file, h5py.File(folder / "drawn.h5") as other:
        image, states, times = file["reconstruction"][0], np.abs(file["trajectory"][:, 0]), file["times"][()]
        angle = np.angle(file["reconstruction_complex"][0])
        lower, upper = other["interval_lower"][0], other["interval_upper"][0]
    with h5py.File(folder / "scan.h5") as full:
        truth = full["reconstruction_rss"][0]
    at, flow = (24, 20), told(page.read_text())["files"][0]

    def shown(moment: Any, pane: int) -> float:
        return float(moment["panes"][pane]["value"].split()[0])

    near = {"rel": 1e-3, "abs": 1e-3 * float(truth.max())}
    assert shown(first, 0) == pytest.approx(truth[at], **near)
    assert shown(first, 1) == pytest.approx(image[at], **near)
    assert shown(first, 4) == pytest.approx(abs(image[at] - truth[at]), **near)
    said = re.fullmatch(
        r"σ \S+, 80 % interval (\S+) to (\S+), (holds|misses) the reference", first["panes"][8]["value"]
    )
    assert said is not None
    assert [float(said[1]), float(said[2])] == pytest.approx([lower[at], upper[at]], **near)
    assert said[3] == ("holds" if lower[at] <= truth[at] <= upper[at] else "misses")
    assert first["panes"][1]["note"] == f"cascade 2 of 2 · t = {times[2]:.2f} · {flow['psnr'][2][0]:.2f} dB"
    assert "source" in source["panes"][1]["note"]
    assert shown(one, 1) == pytest.approx(states[1][at], **near)
    assert shown(source, 1) == pytest.approx(states[0][at], **near)
    assert shown(phase, 1) == pytest.approx(angle[at], abs=1e-3)
    assert [pane["hidden"] for pane in no_errors["panes"]] == [False] * 3 + [True] * 3 + [False] * 3
    widths = [float(moment["footer"].split()[1].strip(",")) for moment in (first, dragged, reset)]
    assert widths[1] == pytest.approx(widths[0] * np.exp(0.5), rel=1e-2)
    assert widths[2] == widths[0]


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, to look at the page")
@pytest.mark.parametrize("size", [(1600, 900), (390, 800)])
def test_a_browser_shows_the_page_and_obeys(folder: Path, page: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    with h5py.File(folder / "flow.h5") as file:
        states = np.abs(file["trajectory"][:, 0])
    canvas = "document.querySelectorAll('figure.image canvas')[1]"
    box = f"(({canvas}.scrollIntoView(), {canvas}.getBoundingClientRect()))"
    value = "parseFloat(document.querySelectorAll('figure.image .value')[1].textContent)"
    window = "parseFloat(document.getElementById('cursor').textContent.slice(7))"
    names = (
        "[...document.querySelectorAll('figure.image:not([hidden])')].map((f) => f.querySelector('button').textContent)"
    )
    near = {"rel": 1e-3, "abs": 1e-3 * float(states.max())}
    with browser(tmp_path / "profile") as seen:
        seen.open(page.as_uri(), *size)
        assert seen.run(names) == ["reference", "flow", "drawn"]
        assert seen.run("document.documentElement.scrollWidth <= innerWidth")
        x, y, width, height = seen.run(f"[{box}.x, {box}.y, {box}.width, {box}.height]")
        assert width >= 180
        assert height == pytest.approx(width * 48 / 40, abs=1)
        place = x + 20.5 / 40 * width, y + 24.5 / 48 * height  # row 24, column 20
        seen.mouse("Moved", *place)
        assert seen.run(value) == pytest.approx(states[2][24, 20], **near)
        seen.key("ArrowLeft")
        assert seen.run(value) == pytest.approx(states[1][24, 20], **near)
        before = seen.run(window)
        seen.drag(place, (place[0] + 20, place[1]))
        assert seen.run(window) > before
        pixels = f"[...{canvas}.getContext('2d').getImageData(0, 0, {canvas}.width, {canvas}.height).data]"
        assert len(set(seen.run(pixels))) > 20  # gray values, not one color
        seen.key("r")
        assert seen.run(window) == before
        seen.key("2")
        assert seen.run(names) == ["flow"]
        seen.key("0")
        assert len(seen.run(names)) == 3
        assert not seen.complaints


def test_images_of_a_series_are_called_by_their_places(tmp_path: Path) -> None:
    """Repetitions of slices, frames of slices, slices of volumes; slices alone have no names."""
    for name, shape, attributes, expected in (
        (
            "a",
            (6, 4, 4),
            {"series": '{"phase": 3, "slice": 2}'},
            ["phase 0, slice 0", "phase 2, slice 1"],
        ),
        ("b", (2, 3, 4, 4), {"geometry": "cine"}, ["slice 0, frame 0", "slice 1, frame 2"]),
        ("c", (2, 3, 4, 4), {"geometry": "volume"}, ["image 0, slice 0", "image 1, slice 2"]),
        ("d", (6, 4, 4), {}, []),
        ("e", (4, 4), {}, []),
    ):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["reconstruction"] = np.ones(shape, np.float32)
            file.attrs.update(attributes | {"laminar": "0.1.0"})
        names = load(tmp_path / f"{name}.h5").names
        assert [*names[:1], *names[-1:]] == expected, name
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["reconstruction_complex"] = np.ones((6, 4, 4), np.complex64)
        file["trajectory"], file["times"] = np.ones((2, 6, 4, 4), np.complex64), [1.0, np.nan]
    with pytest.raises(DataFormatError, match="'times' must be a finite time of each of 2 states"):
        load(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["times"][1] = 0.0
    assert load(tmp_path / "a.h5").cut(slice(4, 6)).names == ["phase 2, slice 0", "phase 2, slice 1"]


def test_folders_are_shown_scan_by_scan(folder: Path, tmp_path: Path, laminar: Run) -> None:
    for name, files in {"ours": ("flow", "drawn"), "theirs": ("flow",)}.items():
        (tmp_path / name).mkdir()
        for file in files:
            shutil.copy(folder / f"{file}.h5", tmp_path / name)
    scans = gather([tmp_path / "ours", tmp_path / "theirs"], folder)
    assert list(scans) == ["drawn", "flow"]
    assert list(scans["flow"].files) == ["ours", "theirs"]
    assert list(scans["drawn"].files) == ["ours"]
    assert scans["flow"].reference == folder / "flow.h5"
    for name in ("R4.0", "R4.5"):
        shutil.copytree(tmp_path / "theirs", tmp_path / name)
    assert list(gather([tmp_path / "R4.0", tmp_path / "R4.5"], None)["flow"].files) == ["R4.0", "R4.5"]
    page = told(scans["flow"].page(slice(None), "flow", list(scans)))
    assert (page["scan"], page["scans"]) == ("flow", ["drawn", "flow"])
    (tmp_path / "empty").mkdir()
    for arguments, why in {
        (tmp_path / "ours", "--export", tmp_path / "p.html"): "one page holds one scan; got 2",
        (tmp_path / "ours", folder / "flow.h5"): "files or folders",
        (tmp_path / "empty",): "no .h5 or .hdf5 file",
    }.items():
        code, _, error = laminar("view", *arguments)
        assert (code, error.count("\n")) == (2, 1)
        assert why in error


def test_the_server_gives_the_page_to_who_knows_its_path_alone() -> None:
    def page_of(scan: str) -> str:
        if scan != "a scan":
            raise DataFormatError("b.h5: <no> reconstruction")
        return "<p>here</p>"

    with Server(page_of, ["a scan", "b"]) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with urllib.request.urlopen(server.url, timeout=10) as answer:
                assert answer.read() == b"<p>here</p>"
                assert answer.headers["Cache-Control"] == "no-store"
            assert server.server_address[0] == "127.0.0.1"
            beside = server.url.replace("a%20scan", "b")
            with urllib.request.urlopen(beside, timeout=10) as answer:
                assert b"b.h5: &lt;no&gt; reconstruction" in answer.read()
            root = server.url.removesuffix("a%20scan").removesuffix(server.path.removeprefix("/"))
            elsewhere = urllib.request.Request(server.url, headers={"Host": "example.org"})
            for request in (root, server.url + "../", server.url + "x", elsewhere):
                with pytest.raises(urllib.error.HTTPError, match="404") as refusal:
                    urllib.request.urlopen(request, timeout=10)
                refusal.value.close()
        finally:
            server.shutdown()


def test_what_does_not_fit_is_refused_in_one_line(folder: Path, tmp_path: Path, laminar: Run) -> None:
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["reconstruction"] = np.ones((2, 48, 40), np.float32)
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        file["reconstruction"] = np.ones((1, 48, 40), np.float32)
        file["trajectory"] = np.ones((3, 1, 8, 8), np.complex64)
    page = ("--export", tmp_path / "page.html")
    for arguments, why in {
        (folder / "flow.h5", tmp_path / "two.h5"): "equally many slices; got {'flow': 1, 'two': 2}",
        (tmp_path / "odd.h5",): "'trajectory' does not fit 'reconstruction'",
        (folder / "flow.h5", "--slices", "1:2"): "flow: expected slices from 0 to 0; got 1:2",
        (folder / "model" / "model.json",): "model.json",
        (folder / "flow.h5", "--reference", tmp_path / "absent.h5"): "no such file",
    }.items():
        code, _, error = laminar("view", *arguments, *page)
        assert code == 2
        assert why in error
        assert error.count("\n") == 1
    assert not (tmp_path / "page.html").exists()
    code, _, error = laminar("view", folder / "flow.h5", "--export", folder / "flow.h5")
    assert (code, "input" in error) == (2, True)
