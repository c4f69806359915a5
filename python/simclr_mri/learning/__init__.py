"""What is trained: SimCLR, classifiers and linear probes, with checkpoints that go on to the same bits."""

from .._shared import attach_package

__getattr__, __dir__ = attach_package(__name__, __file__)
