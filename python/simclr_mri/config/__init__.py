"""Options: one description of each, used by Python, TOML files and the shell; and the recipes."""

from .._shared import attach_package

__getattr__, __dir__ = attach_package(__name__, __file__)
