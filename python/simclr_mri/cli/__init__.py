"""The command line: `simclr-mri demo | data | audit | pretrain | finetune | evaluate | explain | study | bench`."""

from .._shared import attach_package

__getattr__, __dir__ = attach_package(__name__, __file__)
