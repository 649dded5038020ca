"""The errors a user can meet: one clear line that names the thing, what was expected and what came."""

from __future__ import annotations


class LaminarError(Exception):
    """Base of every error that the command line reports on one line with exit code 2."""


class DataFormatError(LaminarError):
    """A file or array cannot be understood as a scan."""


class CheckpointError(LaminarError):
    """A model folder is incomplete, tampered with, or of another configuration."""


class ConfigError(LaminarError):
    """A setting is unknown or out of range."""


class TrainingError(LaminarError):
    """Training cannot go on: a loss or gradient is not finite."""


class MissingExtraError(LaminarError):
    """A feature needs a package that is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"this needs the package '{package}': pip install 'laminar[{extra}]'")
