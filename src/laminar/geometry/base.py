"""What every geometry says of itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from laminar.errors import DataFormatError
from laminar.operators import LinearOperator


class Geometry(ABC):
    """What a kind of measurement must say of itself; `matrix` is the size (y, x) of the images."""

    kind: ClassVar[str]
    """The name by which a checkpoint says what it was trained for."""
    matrix: tuple[int, int]
    image_axes: tuple[str, ...] = ("y", "x")
    """Names of the axes of an image: of several that are solved together, (frame, y, x)."""
    axes: tuple[str, ...]
    """Names of the axes of the data after the first, which counts the images of a scan."""
    norm: float = 1.0
    """That of the operator, or an upper bound: `prepare` divides by it."""

    @property
    def stack_axes(self) -> tuple[str, ...]:
        """Names of the axes of all images of a scan: (slice, y, x), of series (slice, frame, y, x), and so on."""
        return ("image" if self.is_volume else "slice", *self.image_axes)

    @property
    def is_volume(self) -> bool:
        """Whether the slices of a volume are solved together, as one image."""
        return "slice" in self.image_axes

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of an image along `image_axes`."""
        return self.matrix

    def maps_shape(self, coils: int) -> tuple[int, ...]:
        """The size of the sensitivities of an image."""
        return (coils, *self.matrix)

    @abstractmethod
    def operator(self, n_images: int, sensitivities: Tensor | None) -> LinearOperator:
        """The operator from so many images (image, ...) to their data."""

    def check(self, data: Tensor) -> None:
        """Raise DataFormatError if data (image, ...) do not fit."""
        if data.ndim != 1 + len(self.axes):
            raise DataFormatError(f"the data must have the axes (image, {', '.join(self.axes)}); got {said(data)}")

    def weighted(self, data: Tensor) -> Tensor:
        """The data as `operator` gives them: where there are weights, each measurement times its own."""
        return data

    @property
    def noise_gain(self) -> float:
        """The noise level of weighted data, as an image sees it, over that of the data."""
        return 1.0

    def of_image(self, index: int) -> Geometry:
        """That of one image, where the images of a scan differ."""
        return self

    @property
    def measured_acceleration(self) -> float:
        """Unknowns over measurements of one coil."""
        return 1.0


def check_tensor(name: str, values: object) -> None:
    """Raise DataFormatError if something is no tensor, such as an array of NumPy."""
    if not isinstance(values, Tensor):
        made = " (torch.as_tensor makes it one)" if hasattr(values, "__array__") else ""
        raise DataFormatError(f"{name} must be a torch.Tensor; got {type(values).__name__}{made}")


def said(tensor: Tensor) -> str:
    return f"{tensor.dtype} {tuple(tensor.shape)}"
