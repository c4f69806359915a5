"""What a reader of a data set is warned of."""

from __future__ import annotations


class DataWarning(UserWarning):
    """Something about the data that the user should know before believing a result."""


class FilesLeftOut(DataWarning):
    """Files that cannot be read were left out, as `errors="warn"` asks."""
