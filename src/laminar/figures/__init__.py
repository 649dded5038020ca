"""Pictures of a reconstruction as PNG, and the public parts that they are built of: `pixels` and `sheet`."""

from laminar.figures.curves import curves_figure
from laminar.figures.images import comparison_figure, reconstruction_png, trajectory_strip
from laminar.figures.movie import movie, pillow
from laminar.figures.pixels import check_drawable
from laminar.figures.uncertainty import uncertainty_figure

__all__ = [
    "check_drawable",
    "comparison_figure",
    "curves_figure",
    "movie",
    "pillow",
    "reconstruction_png",
    "trajectory_strip",
    "uncertainty_figure",
]
