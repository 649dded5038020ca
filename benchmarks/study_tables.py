"""Tables of `results/STUDY/summary.json`, which `laminar study report` writes, for `benchmarks.tables`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.record import markdown, result


def qualities(study: str) -> str:
    """PSNR (dB) and SSIM of every arm on every test set; the best PSNR of a set in bold."""
    arms = result(f"{study}/summary")["arms"]
    tests = list(arms[0]["tests"])
    best = {test: max(arm["tests"][test]["psnr"]["value"] for arm in arms) for test in tests}

    def cell(arm: dict[str, Any], test: str) -> str:
        psnr, ssim = (arm["tests"][test][metric]["value"] for metric in ("psnr", "ssim"))
        shown = f"**{psnr:.2f}**" if psnr == best[test] else f"{psnr:.2f}"
        return f"{shown} / {ssim:.3f}"

    return markdown(["", *tests], ([arm["labels"]["method"], *(cell(arm, test) for test in tests)] for arm in arms))


def by_test(study: str) -> str:
    """PSNR (dB), a row a test set, a column a method; the best of a set in bold."""
    arms = result(f"{study}/summary")["arms"]

    def row(test: str) -> list[str]:
        values = [arm["tests"][test]["psnr"]["value"] for arm in arms]
        return [test, *(f"**{value:.2f}**" if value == max(values) else f"{value:.2f}" for value in values)]

    return markdown(["test set", *(", ".join(arm["labels"].values()) for arm in arms)], map(row, arms[0]["tests"]))


def _computed(study: str) -> list[dict[str, Any]]:
    """The arms whose tests have all been made."""
    return [arm for arm in result(f"{study}/summary")["arms"] if all(arm["tests"].values())]


def depths() -> str:
    """PSNR (dB) of every network, number of cascades and number of steps at the test; of those that are computed."""
    arms = _computed("depth")
    tests = list(arms[0]["tests"])

    def row(arm: dict[str, Any]) -> list[str]:
        network, cascades, steps = arm["labels"].values()
        values = (f"{arm['tests'][test]['psnr']['value']:.2f}" for test in tests)
        return [network, cascades, cascades if steps == "as trained" else steps, *values]

    return markdown(["network", "cascades", "run with", *tests], map(row, arms))


def steadiness() -> str:
    """PSNR (dB) of every arm and learning rate, and how far seeds differ on the set where they differ most."""
    arms = _computed("ablation")
    tests = list(arms[0]["tests"])

    def row(arm: dict[str, Any]) -> list[str]:
        found = [arm["tests"][test] for test in tests]
        deviation = max(test["deviation of psnr over seeds"]["value"] for test in found)
        return [*arm["labels"].values(), *(f"{test['psnr']['value']:.2f}" for test in found), f"{deviation:.2f}"]

    return markdown(["network", "learning rate", *tests, "largest deviation over seeds"], map(row, arms))


def structures() -> str:
    """What becomes of small discs that are put in: a row a method."""
    questions = result("shifted/summary")["questions"]
    kept, invented = ({arm: value for arm, _, value in questions[name]["rows"]} for name in ("h2", "h3"))
    return markdown(["", "brightness kept", "brightest invented"], ([arm, kept[arm], invented[arm]] for arm in kept))


def coverage() -> str:
    """A row a sampler and test set, a column a question of the study."""
    questions = result("coverage/summary")["questions"]
    cells: dict[tuple[str, str], list[str]] = {}
    for question in questions.values():
        for arm, test, value in question["rows"]:
            cells.setdefault((arm, test), []).append(value)
    return markdown(["sampler", "test set", *questions], ([*place, *values] for place, values in cells.items()))


def differences(study: str) -> str:
    """The differences that a study asks for, in dB: a row a comparison, a column a test set."""
    questions = result(f"{study}/summary")["questions"].values()
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for question in questions:
        if question["head"][-1].startswith("difference"):
            for arm, against, test, value in question["rows"]:
                cells.setdefault((arm, against), {})[test] = value
    tests = list(next(iter(cells.values())))
    return markdown(["", "against", *tests], ([*pair, *(found[t] for t in tests)] for pair, found in cells.items()))


STUDY_TABLES: dict[str, Callable[[], str]] = {
    "coverage": coverage,
    "diffusion": lambda: qualities("diffusion"),
    "diffusion_differences": lambda: differences("diffusion"),
    "core_differences": lambda: differences("core"),
    "parts": lambda: differences("parts"),
    "longer": lambda: by_test("longer"),
    "longer_differences": lambda: differences("longer"),
    "longer_parts": lambda: differences("longer_parts"),
    "shifted": lambda: by_test("shifted"),
    "structures": structures,
    "depth": depths,
    "steadiness": steadiness,
    "self_supervised": lambda: qualities("self_supervised"),
    "self_supervised_differences": lambda: differences("self_supervised"),
}
