"""Weights from and to other programs: torchvision's and timm's ResNets as `.safetensors` or `.pth`."""

from .._shared import attach_package

__getattr__, __dir__ = attach_package(__name__, __file__)
