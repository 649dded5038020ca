"""What stands side by side: the files of one scan, by the folders that they lie in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from laminar.errors import ConfigError, DataFormatError
from laminar.evaluation.files import SUFFIXES
from laminar.viewer.page import page
from laminar.viewer.volumes import load, load_reference


@dataclass(frozen=True)
class Beside:
    """The files of one scan, each by what is written above its column, and what they are compared with."""

    files: Mapping[str, Path]
    reference: Path | None = None

    def page(self, slices: slice, scan: str = "", scans: Sequence[str] = ()) -> str:
        """See `laminar.viewer.page`. Raises DataFormatError for a file that cannot be shown."""
        shown = [load(path, name).cut(slices) for name, path in self.files.items()]
        reference = None if self.reference is None else load_reference(self.reference).cut(slices)
        return page(shown, reference, first_slice=slices.start or 0, scan=scan, scans=scans)


def gather(paths: Sequence[Path], reference: Path | None) -> dict[str, Beside]:
    """Scans by name: of files one, each file a column; of folders those in them, each folder a column.

    `reference` is a file or, beside folders, a folder whose file of the same name is meant. Raises DataFormatError
    for folders without a file to show, ConfigError for a mixture of both.
    """
    if not any(path.is_dir() for path in paths):
        return {paths[0].stem: Beside(dict(zip(_names(paths), paths, strict=True)), reference)}
    if not all(path.is_dir() for path in paths):
        raise ConfigError("files or folders can be shown beside each other; got both")
    found = sorted({path.name for folder in paths for path in folder.iterdir() if path.suffix in SUFFIXES})
    if not found:
        raise DataFormatError(f"{', '.join(map(str, paths))}: no .h5 or .hdf5 file in it")
    folders = dict(zip(_names(paths), paths, strict=True))
    stems = [Path(name).stem for name in found]
    return {
        name if stems.count(stem) > 1 else stem: Beside(
            {title: folder / name for title, folder in folders.items() if (folder / name).exists()},
            reference / name if reference is not None and reference.is_dir() else reference,
        )
        for name, stem in zip(found, stems, strict=True)
    }


def _names(paths: Sequence[Path]) -> list[str]:
    """The last parts of the paths; more of each where two are equal."""
    names = [path.resolve().name if path.is_dir() else path.stem for path in paths]
    return [str(path) if names.count(name) > 1 else name for path, name in zip(paths, names, strict=True)]
