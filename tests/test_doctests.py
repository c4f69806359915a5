"""Every example in a docstring runs, and everything public has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import warnings
from pathlib import Path

import matplotlib
import pytest

matplotlib.use("agg")

import simclr_mri as sm

MODULES = sorted(p.stem for p in Path(sm.__file__).parent.glob("*.py"))
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def public_objects() -> dict[str, object]:
    """What a user calls by name: the package, its data sets, splits, metrics and plots."""
    found = {f"sm.{name}": getattr(sm, name) for name in sm.__all__}
    found |= {f"datasets.{name}": getattr(sm.datasets, name) for name in sm.datasets.__all__}
    for module in (sm.plot, sm.splits):
        for name, value in vars(module).items():
            if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_"):
                found[f"{module.__name__.split('.')[1]}.{name}"] = value
    return {key: value for key, value in found.items() if inspect.isclass(value) or inspect.isfunction(value)}


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    module = sm if name == "__init__" else importlib.import_module(f"simclr_mri.{name}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = doctest.testmod(module, optionflags=FLAGS)
    matplotlib.pyplot.close("all")
    assert result.failed == 0


INTERNAL = {"plot.styled", "splits.describe_overlap"}  # a decorator, and what find_overlap's example prints


@pytest.mark.parametrize("name", sorted(public_objects().keys() - INTERNAL))
def test_what_is_public_has_an_example(name: str) -> None:
    thing = public_objects()[name]
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return
    assert ">>>" in (inspect.getdoc(thing) or ""), f"{name} has no example"


def test_every_public_name_is_there_and_documented():
    for name in sm.__all__:
        value = getattr(sm, name)
        assert name == "__version__" or value.__doc__, name
    with pytest.raises(AttributeError, match=r"no 'SimCRL'. Did you mean 'SimCLR'\?"):
        _ = sm.SimCRL
    assert callable(sm.study) and callable(sm.split)
