"""MATLAB level 5 `.mat`: a list of tagged elements, each a (possibly compressed) matrix.

Parsed here, because scipy's compiled reader crashes the whole process on some corrupt files. Numeric arrays
and the fields of structs are read; text, cells, sparse matrices and objects are no k-space and are skipped.
Format: MathWorks, MAT-File Format (level 5).
"""

from __future__ import annotations

import math
import mmap
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from laminar.data.formats.arrays import Variable, Variables, check_claim, most_bytes
from laminar.data.formats.axes import Array
from laminar.data.formats.format import Format
from laminar.errors import DataFormatError

HEADER_BYTES = 128
MATRIX, COMPRESSED, STRUCT = 14, 15, 2
COMPLEX_FLAG = 0x800
DEEPEST, MOST_ELEMENTS = 32, 20_000
# How numbers are stored (element types), and what they are in MATLAB (array classes).
STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}


@dataclass(frozen=True)
class Element:
    """One tagged piece of a file: its type, its bytes, and the byte order "<" or ">" that it was written
    in.
    """

    kind: int
    data: memoryview
    order: str

    def numbers(self) -> Array:
        """The bytes as the numbers that the type says they are."""
        if self.kind not in STORED:
            raise DataFormatError(f"corrupt MATLAB file: element type {self.kind} where numbers were expected")
        return np.frombuffer(self.data, dtype=self.order + STORED[self.kind])

    def integers(self) -> list[int]:
        return [int(n) for n in self.numbers()]

    def text(self) -> str:
        return bytes(self.data).decode("ascii")


def elements(data: memoryview, order: str, *, packed: bool = False) -> Iterator[Element]:
    """The elements that follow each other in `data`, compressed ones unpacked; these hold no compressed ones."""
    count = 0
    while len(data) >= 8:
        count += 1
        if count > MOST_ELEMENTS:
            raise DataFormatError(f"a MATLAB file of more than {MOST_ELEMENTS} elements")
        kind, size = struct.unpack_from(f"{order}II", data)
        start = 8
        if kind >> 16:  # a small element keeps its size in the tag's upper half and its data in the tag
            kind, size, start = kind & 0xFFFF, kind >> 16, 4
        if size > len(data) - start or (start == 4 and size > 4):
            raise DataFormatError(f"truncated or corrupt MATLAB file: {size} bytes expected, {len(data) - start} left")
        body = data[start : start + size]
        if kind == COMPRESSED:
            if packed:
                raise DataFormatError("corrupt MATLAB file: compressed twice")
            unpacker, most = zlib.decompressobj(), most_bytes(size)
            unpacked = unpacker.decompress(body, most + 1)
            check_claim("compressed element", len(unpacked), size)
            if not unpacker.eof:
                raise DataFormatError("truncated or corrupt MATLAB file: a compressed element has no end")
            yield from elements(memoryview(unpacked), order, packed=True)
            data = data[start + size :]  # compressed elements are not padded
        else:
            yield Element(kind, body, order)
            data = data[start + size + -(start + size) % 8 :]


def matrix(element: Element, outer: str = "") -> Iterator[tuple[str, Variable]]:
    """The name and array of a matrix element; of a struct those of its fields, as `struct.field`."""
    if outer.count(".") > DEEPEST:
        raise DataFormatError(f"MATLAB structs more than {DEEPEST} deep")
    parts = elements(element.data, element.order, packed=True)
    flags, sizes, name = islice(parts, 3)
    shape, kind = tuple(sizes.integers()), flags.integers()[0]
    label = outer or name.text()
    if kind & 0xFF == STRUCT and math.prod(shape) == 1:
        width, names = next(parts).integers()[0], next(parts).text()
        fields = [names[i : i + width].rstrip("\0") for i in range(0, len(names), width)]
        for field, part in zip(fields, parts, strict=False):
            yield from matrix(part, f"{label}.{field}")
    elif kind & 0xFF in CLASSES:
        is_complex = bool(kind & COMPLEX_FLAG)
        stored = [part.numbers() for part in islice(parts, 1 + is_complex)]
        yield label, numeric(stored, shape, CLASSES[kind & 0xFF], is_complex)


def numeric(stored: list[Array], shape: tuple[int, ...], dtype: str, is_complex: bool) -> Variable:
    """The variable of one (real) or two (complex) stored parts. Small integers may stand for doubles."""
    if len(stored) != 1 + is_complex or any(part.size != math.prod(shape) for part in stored):
        raise DataFormatError(
            f"truncated or corrupt MATLAB file: {shape} does not fit {[p.size for p in stored]} numbers"
        )
    real = np.dtype(dtype)
    joined = np.dtype("c8" if dtype == "f4" else "c16") if is_complex else real

    def load() -> Array:
        array = np.empty(shape, joined, order="F")
        array.real = stored[0].reshape(shape, order="F")
        if is_complex:
            array.imag = stored[1].reshape(shape, order="F")
        return array

    return Variable.whole(shape, str(joined), load)


def mat5_variables(path: Path) -> Variables:
    """The numeric arrays of a level 5 file."""
    with path.open("rb") as file:
        content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    order = {b"IM": "<", b"MI": ">"}.get(bytes(content[126:HEADER_BYTES]))
    if order is None:
        raise DataFormatError("truncated or corrupt MATLAB file: no byte order mark")
    top = (e for e in elements(content[HEADER_BYTES:], order) if e.kind == MATRIX)
    # Without a name stands only what MATLAB keeps for its own objects.
    return {name: variable for element in top for name, variable in matrix(element) if name}


def mat4_variables(path: Path) -> Variables:
    """Level 4 files hold matrices alone, of two axes. Raises DataFormatError always."""
    raise DataFormatError("a MATLAB level 4 file, which can hold no more than two axes: save it again with -v7")


def is_level4(start: bytes) -> bool:
    """Whether a header of level 4 begins a file: type MOPT, rows, columns, imaginary or not, length of the name."""
    if len(start) < 20:
        return False
    for order in "<>":
        kind, rows, columns, imaginary, length = struct.unpack_from(f"{order}5i", start)
        sound = 0 <= kind < 5000 and kind // 100 % 10 == 0 and kind // 10 % 10 <= 5 and kind % 10 <= 2
        if sound and min(rows, columns) >= 0 and imaginary in (0, 1) and 1 < length <= 64:
            name = start[20 : min(20 + length, len(start))]
            return name[:-1].decode("latin-1").isidentifier() and name.endswith(b"\0")
    return False


FORMAT = Format(
    lambda file: file.start.startswith(b"MATLAB 5.0") or file.start[124:] in (b"\x00\x01IM", b"\x01\x00MI"),
    mat5_variables,
)
LEVEL4 = Format(lambda file: is_level4(file.start), mat4_variables)
