"""The version of the package, where everything can see it."""

__version__ = "0.1.0"
