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


INTERNAL = {"plot.styled"}  # a decorator


@pytest.mark.parametrize("name", sorted(public_objects().keys() - INTERNAL))
def test_what_is_public_has_an_example(name: str) -> None:
    thing = public_objects()[name]
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return
    assert ">>>" in (inspect.getdoc(thing) or ""), f"{name} has no example"


@pytest.mark.parametrize("module", [sm, sm.datasets, sm.metrics, sm.plot, sm.splits], ids=lambda m: m.__name__)
def test_tab_completion_offers_what_is_for_users_and_no_more(module):
    assert dir(module) == sorted(module.__all__)
    assert all(hasattr(module, name) for name in dir(module))
    assert not [name for name in dir(module) if inspect.ismodule(getattr(module, name)) and module is not sm]
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    assert (
        not {name for name in own if not name.startswith("_")}
        - set(dir(module))
        - {
            "alzheimer_mri_subjects",
            "is_alzheimer_mri",
            "is_phantom_folder",
            "styled",
        }
    )


def test_tab_completion_of_estimators():
    for estimator in (sm.SimCLR(), sm.Classifier(), sm.LinearProbe("x")):
        offered = [name for name in dir(estimator) if not name.startswith("_")]
        assert {"fit", "transform", "get_params"} <= set(offered)
        assert not [name for name in offered if name.endswith(("_request", "_routing"))]


def test_every_public_name_is_there_and_documented():
    for name in sm.__all__:
        value = getattr(sm, name)
        assert name == "__version__" or value.__doc__, name
    with pytest.raises(AttributeError, match=r"no 'SimCRL'. Did you mean 'SimCLR'\?"):
        _ = sm.SimCRL
    assert callable(sm.study) and callable(sm.split)
