"""A data set as a whole: counts, and what is wrong with it or between its files."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from laminar.data.check.facts import Facts
from laminar.words import counted

ALIKE = 1 - 1e-6
"""Correlation of fingerprints from which on two files are one scan."""
_USUAL, _FEWEST = 0.9, 10
_BLOCK = 1000


@dataclass(frozen=True)
class Finding:
    """Something to look at: its `kind`, the files that it concerns, and a sentence."""

    kind: str
    files: tuple[str, ...]
    said: str


@dataclass(frozen=True)
class Report:
    """All files of a data set, what else lies there (a number), and the findings."""

    files: Sequence[Facts]
    others: int
    findings: Sequence[Finding]

    def table(self) -> list[dict[str, Any]]:
        """A row for every split, format, matrix and number of coils: how many files, slices, R and noise."""
        groups: defaultdict[tuple[Any, ...], list[Facts]] = defaultdict(list)
        for file in self.files:
            if file.error is None:
                groups[file.split, file.format, file.coils, file.matrix].append(file)
        return [_row(key, group) for key, group in sorted(groups.items())]

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values for JSON, without the fingerprints."""
        files = [{k: v for k, v in asdict(file).items() if k != "fingerprint"} for file in self.files]
        findings = [asdict(finding) for finding in self.findings]
        return {"table": self.table(), "findings": findings, "others": self.others, "files": files}


def _row(key: tuple[Any, ...], group: Sequence[Facts]) -> dict[str, Any]:
    split, kind, coils, matrix = key
    rates, noise = ([getattr(file, name) for file in group] for name in ("acceleration", "noise_std"))
    return {
        "split": split,
        "format": kind,
        "coils": coils,
        "matrix": list(matrix),
        "files": len(group),
        "slices": sum(file.slices for file in group),
        "subjects": len({file.subject for file in group if file.subject}),
        "acceleration": [min(rates), max(rates)],
        "noise_std": float(np.median(noise)),
    }


def report_on(files: Sequence[Facts], others: int = 0) -> Report:
    """The report on a data set whose files are known."""
    sound = [file for file in files if file.error is None]
    findings = [
        *(Finding(_broken(file.error), (file.path,), file.error) for file in files if file.error is not None),
        *_leaks(sound),
        *_duplicates(sound),
        *_unusual(sound),
        *(Finding(kind, (file.path,), said) for file in sound for kind, said in file.suspicions.items()),
    ]
    return Report(files, others, findings)


def _broken(error: str) -> str:
    """Corrupt, or not understood without more than its name."""
    return "corrupt" if any(sign in error for sign in ("corrupt", "is empty")) else "unread"


def _leaks(files: Sequence[Facts]) -> Iterator[Finding]:
    """Subjects that are in more than one split."""
    by_subject: defaultdict[str, list[Facts]] = defaultdict(list)
    for file in files:
        if file.subject:
            by_subject[file.subject].append(file)
    for subject, group in by_subject.items():
        splits = sorted({file.split for file in group})
        if len(splits) > 1:
            yield Finding("leak", tuple(f.path for f in group), f"subject {subject} is in {' and '.join(splits)}")


def _duplicates(files: Sequence[Facts]) -> Iterator[Finding]:
    """Files of the same content: sample by sample, or up to a factor."""
    of = _groups(files)
    for members in of.values():
        exact = len({file.content for file in members}) == 1
        across = len({file.split for file in members}) > 1
        what = "the same samples" if exact else "the same samples up to a factor, or few of them changed"
        yield Finding("duplicate", tuple(f.path for f in members), what + (", in several splits" if across else ""))


def _groups(files: Sequence[Facts]) -> Mapping[int, Sequence[Facts]]:
    """Files whose fingerprints are alike, in groups of two and more."""
    parent = list(range(len(files)))

    def find(index: int) -> int:
        while parent[index] != index:
            index = parent[index]
        return index

    by_shape: defaultdict[tuple[Any, ...], list[int]] = defaultdict(list)
    for index, file in enumerate(files):
        if file.fingerprint:
            by_shape[file.coils, file.matrix, len(file.fingerprint)].append(index)
    for indices in by_shape.values():
        prints = np.array([files[index].fingerprint for index in indices])
        for start in range(0, len(indices), _BLOCK):
            for a, b in np.argwhere(prints[start : start + _BLOCK] @ prints.T > ALIKE):
                first, second = sorted((find(indices[start + a]), find(indices[b])))
                parent[second] = first
    members: defaultdict[int, list[Facts]] = defaultdict(list)
    for index, file in enumerate(files):
        members[find(index)].append(file)
    return {root: group for root, group in members.items() if len(group) > 1}


def _unusual(files: Sequence[Facts]) -> Iterator[Finding]:
    """Files of another number of coils than nearly all others of the data set."""
    counts = Counter(file.coils for file in files)
    if len(files) < _FEWEST:
        return
    usual, often = counts.most_common(1)[0]
    if often >= _USUAL * len(files):
        for file in files:
            if file.coils != usual:
                said = f"{counted(file.coils, 'coil')}, where {often} of {len(files)} have {usual}"
                yield Finding("unusual", (file.path,), said)
