"""What is wrong with a data set, and what a score on it would mean."""

from .._shared import attach_package

__getattr__, __dir__ = attach_package(__name__, __file__)
