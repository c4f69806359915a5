"""Every example in a docstring runs, and everything public has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import warnings
from pathlib import Path
from types import ModuleType

import matplotlib
import pytest

matplotlib.use("agg")

import simclr_mri as sm

ROOT = Path(sm.__file__).parent
MODULES = sorted(".".join(p.relative_to(ROOT.parent).with_suffix("").parts) for p in ROOT.rglob("*.py"))
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def public_objects() -> dict[str, object]:
    """What a user calls by name, or is given: the package and its rooms, less the command line's."""
    found = {f"sm.{name}": getattr(sm, name) for name in sm.__all__}
    rooms = sorted(path.parent.name for path in ROOT.glob("[a-z]*/__init__.py"))
    assert {"learning", "views", "tracking", "config"} < set(rooms)
    for room in rooms:
        module = importlib.import_module(f"{sm.__name__}.{room}")
        found |= {f"{room}.{name}": getattr(module, name) for name in module.__all__ if room != "cli"}
    return {key: value for key, value in found.items() if inspect.isclass(value) or inspect.isfunction(value)}


def offered_beside(module: ModuleType) -> dict[str, object]:
    """An example may use what its package offers, as a reader of it would."""
    if module is sm or module.__name__.count(".") == 1:
        return {}
    package = importlib.import_module(".".join(module.__name__.split(".")[:2]))
    return {name: getattr(package, name) for name in package.__all__ if name not in vars(module)}


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    try:
        module = importlib.import_module(name.removesuffix(".__init__"))
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        pytest.skip("compares with PyTorch, which is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = doctest.testmod(module, optionflags=FLAGS, extraglobs=offered_beside(module))
    matplotlib.pyplot.close("all")
    assert result.failed == 0


@pytest.mark.parametrize("name", sorted(public_objects()))
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


def test_tab_completion_of_estimators():
    for estimator in (sm.SimCLR(), sm.Classifier(), sm.LinearProbe("x")):
        offered = [name for name in dir(estimator) if not name.startswith("_")]
        assert {"fit", "transform", "get_params"} <= set(offered)
        assert not [name for name in offered if name.endswith(("_request", "_routing"))]


@pytest.mark.parametrize("estimator", [sm.SimCLR, sm.Classifier])
def test_types_of_arguments_are_known_to_whoever_reads_the_signature(estimator):
    """Names of the module in which an option is written would be unknown in another: pdoc warns of each."""
    parameters = inspect.signature(estimator).parameters.values()
    assert not [p for p in parameters if isinstance(p.annotation, str)]


def test_every_public_name_is_there_and_documented():
    for name in sm.__all__:
        value = getattr(sm, name)
        assert name == "__version__" or value.__doc__, name
    with pytest.raises(AttributeError, match=r"no 'SimCRL'. Did you mean 'SimCLR'\?"):
        _ = sm.SimCRL
    assert callable(sm.study) and callable(sm.split)
