"""Grad-CAM heat maps, and checks of whether they can be believed."""

from .._shared import attach_package

__getattr__, __dir__ = attach_package(__name__, __file__)
