"""Splits by subject that cannot leak: training, validation and test, folds, and shares of the labels."""

from .._shared import attach_package

__getattr__, __dir__ = attach_package(__name__, __file__)
