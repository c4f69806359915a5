"""What every room uses: words, files, HTML, the machine, progress. Stands on the core alone."""

from ._lazy import attach_package

__getattr__, __dir__ = attach_package(__name__, __file__)
