"""Runs in TensorBoard, MLflow and Weights & Biases."""

from .._shared import attach_package

__getattr__, __dir__ = attach_package(__name__, __file__)
