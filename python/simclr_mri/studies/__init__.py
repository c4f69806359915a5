"""Studies: how much does a start help when labels are few?"""

from .._shared import attach_package

__getattr__, __dir__ = attach_package(__name__, __file__)
