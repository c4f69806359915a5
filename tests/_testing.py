"""What only tests call of the core: a second module in the extension's file, which wheels are built without."""

import importlib.util
import sys
from importlib.machinery import ExtensionFileLoader

from simclr_mri import _core

loader = ExtensionFileLoader("_testing", _core.__file__)
spec = importlib.util.spec_from_loader("_testing", loader)
assert spec is not None
try:
    module = importlib.util.module_from_spec(spec)
except ImportError as error:
    raise ImportError("the tests need a build for development: pip install -e .") from error
loader.exec_module(module)
sys.modules["_testing"] = module
