"""What goes wrong with files of weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


class WeightsError(ValueError):
    """A weights file that cannot be read, or holds what a dictionary of tensors does not need."""


class CheckpointError(ValueError):
    """A file that is not a whole checkpoint, or not one that this program can use."""


@contextlib.contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Puts the file's name before the message of a `WeightsError` or `CheckpointError`."""
    try:
        yield
    except (WeightsError, CheckpointError) as error:
        raise type(error)(f"{path}: {error}") from None
