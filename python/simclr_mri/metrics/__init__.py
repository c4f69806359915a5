"""Metrics that survive a 50 : 1 imbalance, per slice and per subject, with intervals over subjects."""

from .._shared import attach_package

__getattr__, __dir__ = attach_package(__name__, __file__)
