"""Data sets: folders of images, the Alzheimer MRI data set, and phantoms whose truth is known."""

from .._shared import attach_package

__getattr__, __dir__ = attach_package(__name__, __file__)
