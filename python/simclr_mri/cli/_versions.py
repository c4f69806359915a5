"""Versions for bug reports."""

from __future__ import annotations

from .._shared import versions


def show_versions() -> None:
    """Print versions, processor, instruction set in use, BLAS, codecs and threads: for bug reports.

    Examples
    --------
    >>> show_versions()  # doctest: +ELLIPSIS
        simclr_mri  ...
    """
    for key, value in versions().items():
        print(f"{key:>14}  {value}")
