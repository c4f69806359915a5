"""Options: one source of truth for Python, TOML and the shell; merging; errors that help."""

from __future__ import annotations

import argparse
import ast
import re
import typing

import pytest
from sklearn.base import clone

from simclr_mri import Classifier, SimCLR, _core
from simclr_mri._shared import MAX_SEED, MAX_THREADS, did_you_mean, n_threads
from simclr_mri.cli import COMMANDS, Settings, build_parser
from simclr_mri.cli._arguments import add_arguments, given_arguments, show_default
from simclr_mri.config import (
    DEMO_CHOICES,
    RECIPES,
    SECTIONS,
    FinetuneOptions,
    PretrainOptions,
    as_dict,
    checked,
    merged,
    option_fields,
    recipe_values,
)
from simclr_mri.learning._simclr import projection_head


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", SECTIONS)
def test_recipes_hold_known_options_with_good_values(recipe, name):
    checked(merged(name, SECTIONS[name], [(recipe, recipe_values(recipe, name, SECTIONS[name]))]), SECTIONS[name])


def test_estimators_have_the_options_of_their_sections():
    for estimator, name in ((SimCLR, "pretrain"), (Classifier, "finetune")):
        options = {field.name for field in option_fields(SECTIONS[name])}
        assert set(estimator().get_params(deep=False)) == options
        assert as_dict(estimator()) == as_dict(SECTIONS[name]())


def test_the_paper_recipe_is_the_published_one():
    ssl, clf = SimCLR(recipe="paper"), Classifier(recipe="paper")
    assert (ssl.arch, ssl.features, ssl.head, ssl.views, ssl.normalize) == (
        "resnet50",
        "flatten",
        "paper",
        "crop",
        False,
    )
    assert (ssl.temperature, ssl.temperature_drops, ssl.separate_views) == (0.5, True, True)
    assert (ssl.sharpness, ssl.rho, ssl.optimizer, ssl.lr, ssl.schedule) == ("asam", 2.0, "sgd", 1e-2, "onecycle")
    assert (ssl.batch_size, ssl.epochs, clf.batch_size, clf.epochs) == (32, 100, 32, 100)
    assert (clf.dropout, clf.optimizer, clf.lr, clf.weight_decay) == (0.5, "adamw", 1e-4, 1e-8)
    assert (clf.views, clf.class_weight, clf.select, clf.select_on) == ("none", None, "accuracy", "test")
    options = checked(ssl, PretrainOptions)
    assert projection_head(options) == [(256, 0.5, False), (128, 0.5, False)]


def test_arguments_win_over_the_recipe_and_clones_keep_both():
    ssl = SimCLR("resnet18", recipe="paper", epochs=2, temperature=0.2)
    assert (ssl.arch, ssl.epochs, ssl.temperature, ssl.rho) == ("resnet18", 2, 0.2, 2.0)
    assert clone(ssl).get_params() == ssl.get_params()
    assert Classifier(recipe="paper", class_weight="balanced").class_weight == "balanced"


def test_sources_are_merged_in_order(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('recipe = "quick"\n[pretrain]\nepochs = 7\nbatch_size = 16\n')
    args = build_parser().parse_args(["pretrain", "DATA", "--config", str(file), "--batch-size", "8"])
    pretrain = Settings(args).pretrain
    assert (pretrain.arch, pretrain.recipe) == ("resnet18", "quick")  # recipe
    assert pretrain.epochs == 7  # file over recipe
    assert pretrain.batch_size == 8  # command line over file
    args = build_parser().parse_args(["pretrain", "DATA", "--config", str(file), "--recipe", "default"])
    assert Settings(args).pretrain.arch == "resnet50"
    inherited = {"recipe": "paper", "data": {"image_size": 64}}
    assert Settings(build_parser().parse_args(["pretrain", "DATA"]), inherited).data.image_size == 64


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[pretrain]\nepoch = 3\n", r"unknown option 'epoch'. Did you mean 'epochs'\?"),
        ("[pretrian]\nepochs = 3\n", r"unknown table \[pretrian\]. Did you mean 'pretrain'\?"),
        ('[pretrain]\nepochs = "many"\n', "epochs: expected int, got 'many'"),
        ("[pretrain]\nepochs = 2.5\n", "epochs: expected int, got 2.5"),
        ("[pretrain]\nnesterov = 1\n", "nesterov: expected bool, got 1"),
        ("[pretrain]\ntemperature = 0\n", "temperature=0.0: expected at least 0.001"),
        ('[pretrain]\nviews = "mrii"\n', r"views='mrii' is unknown. Did you mean 'mri'\?"),
        ("epochs = 3\n", "unknown table"),
        ("[pretrain\n", "not valid TOML"),
    ],
)
def test_mistakes_in_a_file_name_it_and_help(tmp_path, text, message):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        Settings(build_parser().parse_args(["pretrain", "DATA", "--config", str(file)]))
    assert "mine.toml" in str(error.value)


def test_mistakes_in_python_help():
    with pytest.raises(TypeError, match=r"unknown argument 'epoch'. Did you mean 'epochs'\?"):
        SimCLR(epoch=3)
    with pytest.raises(ValueError, match="Did you mean 'paper'"):
        SimCLR(recipe="papers")
    with pytest.raises(ValueError, match="arch='resnet' is unknown"):
        checked(SimCLR("resnet"), PretrainOptions)
    with pytest.raises(ValueError, match="epochs=-1: expected at least 0"):
        checked(SimCLR(epochs=-1), PretrainOptions)
    assert "Known: a, b" in did_you_mean("zzz", ["a", "b"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch_size": 1}, "batch_size=1: expected at least 2, because SimCLR pushes an image away from the others"),
        ({"momentum": 1}, "momentum=1.0: expected less than 1"),
        ({"lr": float("inf")}, "lr=inf: expected a finite number"),
        ({"rho": float("nan")}, "rho=nan: expected a finite number"),
        ({"random_state": 2**32}, "random_state=4294967296: expected at most 4294967295"),
        ({"random_state": 10**30}, "random_state=10+: expected at most 4294967295"),
        ({"n_jobs": 1000}, "n_jobs=1000: expected at most 256"),
    ],
)
def test_values_out_of_range_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        checked(SimCLR(**values), PretrainOptions)
    line = [part for name, value in values.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    with pytest.raises(ValueError, match=message):
        Settings(build_parser().parse_args(["pretrain", "D", *line]))


def test_the_ends_of_the_ranges_are_allowed(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    checked(SimCLR(batch_size=2, momentum=0.999, random_state=MAX_SEED, n_jobs=MAX_THREADS), PretrainOptions)
    checked(Classifier(batch_size=1), FinetuneOptions)
    assert n_threads(MAX_THREADS) == MAX_THREADS and n_threads(-1) == n_threads(None) == 0
    for bad in (0, MAX_THREADS + 1):
        with pytest.raises(ValueError, match=f"n_jobs={bad}: expected 1 to {MAX_THREADS} threads"):
            n_threads(bad)
    with pytest.raises(ValueError, match=f"at most {MAX_THREADS}, got"):  # the core's own limit is the same
        _core.Network(18, image_size=32, head=[(2, 0.0, False)], n_threads=MAX_THREADS + 1)


@pytest.mark.parametrize("name", SECTIONS)
def test_every_option_has_an_argument_that_gives_its_default_back(name):
    section = SECTIONS[name]
    for field in option_fields(section):
        parser = argparse.ArgumentParser()
        add_arguments(parser, section)
        values = field.default if isinstance(field.default, tuple) else (field.default,)
        line = [
            f"--{field.name.replace('_', '-')}",
            *(str(v).lower() if isinstance(v, bool) else str(v) for v in values),
        ]
        given = given_arguments(parser.parse_args(line), section)
        assert merged(name, section, [("line", given)]).__dict__ == section().__dict__


@pytest.mark.parametrize("command", [name for name in COMMANDS if COMMANDS[name]["bare"]])
def test_help_is_whole(command, capsys):
    with pytest.raises(SystemExit) as stop:
        build_parser().parse_args([command, "--help-all"])
    text = capsys.readouterr().out
    assert stop.value.code == 0 and "examples:" in text and "(default:" in text
    text = " ".join(text.split("always:")[-1].split()).replace("--[no-]", "--")
    shown = dict(re.findall(r"--([\w.-]+) [^-].*? \(default: ([^()]*)\)", text))
    settings = Settings(argparse.Namespace(command=command, config=None), DEMO_CHOICES if command == "demo" else None)
    about = COMMANDS[command]
    assert shown and (command != "demo" or shown["pretrain.arch"] == "resnet18")
    held = [(section, "") for section in about["bare"]] + [(s, f"{s}.") for s in about.get("prefixed", ())]
    for section, prefix in held:  # the defaults that are shown are those that hold
        for option, value in as_dict(settings.sections[section]).items():
            name = f"{prefix}{option.replace('_', '-')}"
            if (section, option) != ("run", "out"):  # a folder named after what is done
                assert shown.get(name, show_default(value)) == show_default(value), name
    for line in COMMANDS[command]["examples"]:  # the examples are understood
        typed = re.split(r"simclr[-_]mri ", line, maxsplit=1)[1]  # behind mpiexec too
        assert build_parser().parse_args(typed.split()).command == command


def test_words_are_written_once_in_the_types():
    """Editors complete a Literal, and the run-time check and the shell take their choices from it."""
    typed = 0
    for name, section in SECTIONS.items():
        for field in option_fields(section):
            kind = typing.get_type_hints(section)[field.name]
            words = re.findall(r"Literal\[([^]]*)\]", str(kind))
            choices = field.metadata["choices"]
            if words:
                assert list(choices) == list(ast.literal_eval(f"[{words[0]}]")), (name, field.name)
                typed += 1
            of_text = choices is not None and all(isinstance(choice, str) for choice in choices)
            of_text &= (name, field.name) != ("compare", "metric")  # the keys of a table of functions
            assert words or not of_text, f"{name}.{field.name}: a Literal instead of choices={choices}"
    assert typed > 30
