"""What goes wrong with files of weights."""

from __future__ import annotations


class WeightsError(ValueError):
    """A weights file that cannot be read, or holds what a dictionary of tensors does not need."""


class CheckpointError(ValueError):
    """A file that is not a whole checkpoint, or not one that this program can use."""
