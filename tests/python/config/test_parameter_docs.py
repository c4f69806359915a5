"""help() of an estimator tells every argument, as --help does."""

from __future__ import annotations

import inspect
import re

import pytest

from simclr_mri import Classifier, SimCLR
from simclr_mri.config import option_fields


@pytest.mark.parametrize("cls", [Classifier, SimCLR])
def test_every_argument_is_described(cls: type) -> None:
    section = inspect.cleandoc(cls.__doc__).split("Parameters\n")[1].split("Attributes\n")[0]
    names = re.findall(r"^(\w+) : .+, default=.+\n    [A-Z0-9].+\.$", section.replace("\n        ", " "), re.M)
    described = re.findall(r"^(\w+) : ", section, re.M)
    assert described == [field.name for field in option_fields(cls)]
    assert set(names) <= set(described) and "lr : float or None, default=None" in section
    assert "momentum : float" in section and "At least 0 and below 1." in section
    assert "{'sgd', 'adamw', 'lars'}" in section


def test_what_comes_before_and_after_stays() -> None:
    doc = Classifier.__doc__
    assert doc.startswith("Learns classes from labelled images.")
    assert doc.index("Parameters\n") < doc.index("Attributes\n") < doc.index("Examples\n") < doc.index(">>> from")
