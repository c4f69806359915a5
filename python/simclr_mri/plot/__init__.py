"""Figures. Each takes arrays or a record and `ax=None`, and returns the axes."""

from .._shared import attach_package

__getattr__, __dir__ = attach_package(__name__, __file__)
