"""One door for failure: whatever a library raises on a broken file becomes one DataFormatError that names
it.
"""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from laminar.data.formats.arrays import scan_name
from laminar.errors import DataFormatError, failure

# What h5py, numpy, zipfile and the XML parser raise on truncated, corrupt or mistyped input.
# A broken file can reach any of their internals, so these are wide; a bug of ours would hide among them,
# which is why each keeps its cause and the tests read every format both ways.
UNREADABLE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    EOFError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    ElementTree.ParseError,
    SyntaxError,
    Warning,  # of oddities in files, where they are made errors; filters belong to all threads
    tokenize.TokenError,
)


def one_line(error: BaseException, longest: int = 300) -> str:
    """The text of an error without line breaks; the name of its type if it has none."""
    return " ".join(str(error).split())[:longest] or type(error).__name__


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn every failure inside into a DataFormatError whose one line begins with the path."""
    try:
        with np.errstate(all="ignore"):  # what is not finite is refused
            yield
    except DataFormatError as error:
        text = one_line(error, 1000)  # our own words, and a path before them
        text = text.removeprefix(f"{scan_name(path)}: ")
        raise DataFormatError(text if text.startswith(str(path)) else f"{path}: {text}") from error
    except UNREADABLE as error:
        broken = f"truncated or corrupt ({type(error).__name__}: {one_line(error)})"
        raise DataFormatError(f"{path}: {failure(error) or broken}") from error
