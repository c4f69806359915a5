"""Options that are numbers by name, in Python, in TOML and in the shell."""

from __future__ import annotations

import numpy as np
import pytest

from simclr_mri import Classifier, SimCLR
from simclr_mri.cli import Settings, build_parser
from simclr_mri.config import FinetuneOptions, PretrainOptions, checked


def typed(*words: str) -> FinetuneOptions:
    return Settings(build_parser().parse_args(["finetune", "DATA", *words])).finetune


def test_the_same_numbers_from_everywhere(tmp_path):
    wanted = {"Mild Demented": 2.0, "1": 0.5}
    assert (
        checked(Classifier(class_weight={"Mild Demented": np.int64(2), 1: 0.5}), FinetuneOptions).class_weight == wanted
    )
    assert typed("--class-weight", "Mild Demented=2,1=0.5").class_weight == wanted
    file = tmp_path / "mine.toml"
    file.write_text('[finetune]\nclass_weight = {"Mild Demented" = 2, 1 = 0.5}\nlayer_rates = "head=10"\n')
    found = typed("--config", str(file))
    assert found.class_weight == wanted and found.layer_rates == {"head": 10.0}
    assert typed("--class-weight", "none").class_weight is None
    assert typed("--class-weight", "balanced").class_weight == "balanced"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("balance", "Did you mean 'balanced'"),
        ({"a": 0}, "class_weight: expected a finite number above 0 for 'a', got 0"),
        ({"a": float("nan")}, "expected a finite number above 0 for 'a', got nan"),
        ({"a": "2"}, "expected a finite number above 0 for 'a', got '2'"),
        ({"a": True}, "expected a finite number above 0 for 'a', got True"),
        ({None: 1.0}, "expected names or numbers as keys, got None"),
        ({1: 1.0, "1": 2.0}, "'1' is given twice"),
        ({}, "expected at least one name, got none"),
        ([1.0, 2.0], "expected str, got"),
    ],
)
def test_mistakes_in_python(value, message):
    with pytest.raises(ValueError, match=message) as error:
        checked(Classifier(class_weight=value), FinetuneOptions)
    assert "class_weight" in str(error.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("a=2,b", "--class-weight: expected NAME=NUMBER, several joined by commas, got 'b'"),
        ("a=two", "--class-weight: expected NAME=NUMBER, several joined by commas, got 'a=two'"),
        ("=2", "--class-weight: expected NAME=NUMBER, several joined by commas, got '=2'"),
        ("a=1,a=2", "--class-weight: 'a' is given twice"),
        ("a=-1", "--class-weight: expected a finite number above 0 for 'a', got -1.0"),
    ],
)
def test_mistakes_in_the_shell(words, message):
    from simclr_mri._shared import for_the_shell

    with for_the_shell(), pytest.raises(ValueError) as error:
        typed("--class-weight", words)
    assert str(error.value) == message


def test_what_is_no_mapping_is_said():
    with pytest.raises(ValueError, match=r"layer_rates: expected numbers by name, got 0.5"):
        checked(SimCLR(layer_rates=0.5), PretrainOptions)
    with pytest.raises(ValueError, match=r"freeze='layer5' is unknown. Did you mean 'layer4'"):
        checked(SimCLR(freeze="layer5"), PretrainOptions)
