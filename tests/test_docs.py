"""The examples in the docstrings run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import simclr_mri

MODULES = [m.name for m in pkgutil.iter_modules(simclr_mri.__path__) if m.name != "_core" and "openblas" not in m.name]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(f"simclr_mri.{name}")
    assert doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


def test_every_public_name_is_there_and_documented():
    for name in simclr_mri.__all__:
        value = getattr(simclr_mri, name)
        assert name == "__version__" or value.__doc__, name
    with pytest.raises(AttributeError, match=r"no 'SimCRL'. Did you mean 'SimCLR'\?"):
        _ = simclr_mri.SimCRL
    assert callable(simclr_mri.study) and callable(simclr_mri.split)
