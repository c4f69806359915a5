"""Nothing that is typed is ignored: an option has an effect, or is refused, or is said to have none."""

from __future__ import annotations

import argparse
import re
import warnings

import pytest

from simclr_mri.cli import COMMANDS, Settings, build_parser
from simclr_mri.cli._unused import RULES

PARSER = build_parser()

EFFECT = {  # what makes an option of RULES useless, and what gives it an effect
    "rho": ("", "--sharpness sam"),
    "nesterov": ("--optimizer adamw", "--optimizer sgd"),
    "warmup_epochs": ("--schedule constant", "--schedule cosine"),
    "epochs": ("", None),
    "lr": ("", None),
    "fraction_by": ("", "--label-fraction 0.5"),
    "class_weight": ("--sampling balanced", "--sampling shuffle"),
    "fold": ("", "--folds 3"),
    "opset": ("--out a.safetensors", "--out a.onnx"),
    "rgb_stem": ("--out a.onnx", "--out a.safetensors"),
}
VALUES = {
    "rho": "0.1",
    "nesterov": "",
    "warmup_epochs": "2",
    "epochs": "0",
    "lr": "0",
    "fraction_by": "image",
    "fold": "1",
    "class_weight": "balanced",
    "opset": "18",
    "rgb_stem": "",
    "by": "subject",
    "split_seed": "3",
    "split": "0.8 0.2",
    "folds": "2",
    "task": "cdr0",
    "merge": "a,b=c",
    "class_order": "a b",
    "labels": "t.csv:c",
}


def notes(line):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        Settings(PARSER.parse_args(line.split()))
    return [str(note.message) for note in found if "has no effect" in str(note.message)]


@pytest.mark.parametrize(("section", "name"), sorted({(section, name) for section, name, *_ in RULES}))
def test_what_has_no_effect_is_said(section, name):
    command = {"data": "pretrain", "export": "export"}.get(section, section)
    option = f"--{name.replace('_', '-')} {VALUES[name]}"
    useless, useful = EFFECT.get(name, ("--unlabelled", ""))
    found = notes(f"{command} D {useless} {option}")
    assert len(found) == 1 and found[0].startswith(f"{name} has no effect "), found
    if useful is not None:
        assert notes(f"{command} D {useful} {option}") == []
    assert notes(f"{command} D {useless}") == []  # what was not typed is not talked about


def test_ready_made_parts():
    found = notes("finetune D --split given --by image --split-seed 3")
    assert [note.split()[0] for note in found] == ["by", "split_seed"]
    assert notes("study D --finetune.rho 0.1")[0].startswith("rho has no effect without sharpness sam")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_command_reaches_it(command):
    """What the parser takes arrives in the settings; what a command does not take, it refuses with a reason."""
    parser = PARSER.commands[command]
    for action in parser.all_options():
        words = [action.option_strings[0]]
        if action.choices:
            words.append(str(next(c for c in action.choices if c is not None)))
        elif action.nargs != "?":
            words.append("1")
        places = [["X"] for _ in parser.places]
        line = [command, *(w for place in places for w in place), *words]
        args = PARSER.parse_args(line)
        assert hasattr(args, action.dest), action.dest
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                settings = Settings(argparse.Namespace(**vars(args)))
            except ValueError as error:  # 1 is no value of it: so it was looked at
                assert re.search(rf"\b{re.escape(action.dest.rpartition('.')[2])}\b", str(error))
                continue
        section, _, name = action.dest.rpartition(".")
        sections = [section] if section else COMMANDS[command]["bare"]
        assert any(settings.sources.get(f"{s}.{name}") == "command line" for s in sections), action.dest
    for reason in COMMANDS[command].get("refused", {}).values():
        assert len(reason.split()) > 2
