"""Batches of images as the network sees them: plain, augmented, and in pairs."""

from .._shared import attach_package

__getattr__, __dir__ = attach_package(__name__, __file__)
