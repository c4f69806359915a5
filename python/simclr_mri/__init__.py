"""SimCLR pretraining, fine-tuning and Grad-CAM for brain MRI slices, on a CPU.

>>> import simclr_mri as sm
>>> ds = sm.datasets.phantoms(seed=0, n_subjects=20, slices=2, image_size=32)
>>> train, val, test = sm.split(ds, by="subject", seed=42)  # doctest: +SKIP
"""

from ._shared._lazy import attach_package
from ._shared._moved import install
from ._shared._version import __version__ as __version__

install()
__getattr__, __dir__ = attach_package(__name__, __file__)
