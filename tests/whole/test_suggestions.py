"""Every message that advises an option, a command, a call or an installation: collected from the source, and tried.

Each is parsed as if it had been typed. Those that depend on what was found are run in tests/python/cli/test_messages.py
and beside the tests of their errors.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import simclr_mri as sm
from simclr_mri._shared import for_the_shell, option_text
from simclr_mri.cli import COMMANDS, build_parser
from simclr_mri.config import SECTIONS, option_fields
from simclr_mri.config._options import check_value

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "python" / "simclr_mri").rglob("*.py"))
PARSER = build_parser()
OPTIONS = {field.name for section in SECTIONS.values() for field in option_fields(section)}
# Arguments of public functions, which their messages name as options of the shell too where there is one.
OFFERED = [getattr(module, name) for module in (sm, sm.datasets, sm.splits, sm.metrics) for name in module.__all__]
METHODS = [method for thing in OFFERED if inspect.isclass(thing) for method in vars(thing).values()]
FUNCTIONS = [inspect.unwrap(thing) for thing in [*OFFERED, *METHODS] if inspect.isfunction(thing)]
ARGUMENTS = {name for function in FUNCTIONS for name in inspect.signature(function).parameters}
OF_OTHERS = {"--logdir", "--nworkers", "--nthreads"}  # of tensorboard and dask


def texts_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Texts that can be shown, with what is filled in as X; docstrings are not."""
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node, clean=False)
    }
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(p.value if isinstance(p, ast.Constant) else "X" for p in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents | parts:
            yield node.lineno, node.value


def calls_of(tree: ast.AST, *names: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            yield node


TREES = {path: ast.parse(path.read_text()) for path in SOURCES}
TEXTS = [(f"{p.relative_to(ROOT)}:{line}", text) for p, tree in TREES.items() for line, text in texts_of(tree)]


def options_of_command(command: str) -> set[str]:
    return set(PARSER.commands[command]._option_string_actions)


ALL_OPTIONS = set().union(*(options_of_command(name) for name in COMMANDS))


def test_options_that_are_advised_exist():
    seen = 0
    for where, text in TEXTS:
        if " " not in text or ":root" in text or "var(--" in text:  # an argument of another program; a style sheet
            continue
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z.-]*[a-z](?![\w(])", text):
            known = flag in ALL_OPTIONS | OF_OTHERS or any(name.endswith(f".{flag[2:]}") for name in ALL_OPTIONS)
            assert known, f"{where}: {flag} is no option of any command: {text!r}"
            seen += 1
    assert seen > 30


def test_names_that_are_put_into_messages_are_options_or_arguments():
    seen = 0
    for path, tree in TREES.items():
        for call in calls_of(tree, "option_name", "option_text"):
            if isinstance(call.args[0], ast.Constant):
                name = call.args[0].value
                assert name in OPTIONS | ARGUMENTS, f"{path.name}:{call.lineno}: {name}"
                seen += 1
    assert seen > 60


def test_values_that_are_advised_are_allowed():
    """`option_text("resume", "never")` and its like, parsed by every command that has the option."""
    seen = 0
    for path, tree in TREES.items():
        for call in calls_of(tree, "option_text"):
            if not all(isinstance(part, ast.Constant) for part in call.args) or len(call.args) != 2:
                continue
            name, value = (part.value for part in call.args)
            for command, about in COMMANDS.items():
                flag = f"--{name.replace('_', '-')}"
                if flag not in options_of_command(command):
                    continue
                section = next(
                    SECTIONS[s] for s in about["bare"] if name in {f.name for f in option_fields(SECTIONS[s])}
                )
                check_value(section, name, value)
                seen += 1
            assert name in OPTIONS | ARGUMENTS, f"{path.name}:{call.lineno}"
    assert seen > 10


COMMAND = re.compile(r"simclr-mri ([a-z][a-z-]*)((?: (?!and |or |in |with |of |on )[^\s,;:()'\"]+)*)")


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_that_are_advised_can_be_typed(command, capsys):
    """With what is filled in as X; what a message leaves to the reader is left out here too."""
    for where, text in TEXTS:
        for name, rest in COMMAND.findall(text):
            assert name in COMMANDS, f"{where}: {name} is no command: {text!r}"
            if name != command:
                continue
            flags = re.findall(r"(?<!\w)--[a-z.-]+", rest)
            unknown = [flag for flag in flags if flag not in options_of_command(command)]
            assert not unknown, f"{where}: {unknown} of {command}: {text!r}"


def test_calls_that_are_advised_have_these_arguments():
    """`call_text("datasets.write_slices", "slices", ...)`: the function is for Python, the command for the shell."""
    seen = 0
    for path, tree in TREES.items():
        for call in calls_of(tree, "call_text"):
            function, command = (part.value for part in call.args[:2])
            found = sm
            for part in filter(None, function.split(".")):
                found = getattr(found, part)
            for keyword in call.keywords:
                if keyword.arg is None:
                    continue
                where = f"{path.name}:{call.lineno}: {keyword.arg}"
                assert not function or keyword.arg in inspect.signature(found).parameters, where
                value = keyword.value.value if isinstance(keyword.value, ast.Constant) else "x"
                with for_the_shell():
                    assert option_text(keyword.arg, value).split()[0] in options_of_command(command), where
            seen += 1
    assert seen


def test_methods_that_are_advised_exist():
    """Words before a bracket: `set_params(...)`, `datasets.open(...)`, `ds.with_subjects(...)`."""
    owners = [
        sm,
        sm.datasets,
        sm.splits,
        sm.metrics,
        sm.plot,
        sm.SimCLR,
        sm.Classifier,
        sm.LinearProbe,
        sm.Dataset,
        sm.Split,
    ]
    owners += [sm.weights, sm.learning, sm.explain]
    known = {name for owner in owners for name in dir(owner)} | {"pip", "ImageFolder"}
    for where, text in TEXTS:
        for name in re.findall(r"(?<![\w.])(?:sm\.|datasets\.|ds\.|plot\.)([A-Za-z_]+)\(", text):
            assert name in known, f"{where}: {name}() is advised and is not there: {text!r}"


def test_installations_that_are_advised_are_offered():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    packages = {"shtab"}  # for completion alone
    packages |= {re.split(r"[ <>=!\[;]", line)[0] for lines in extras.values() for line in lines}
    seen = 0
    for where, text in TEXTS:
        for extra in re.findall(r"simclr_mri\[([a-z]+)\]", text):
            assert extra in extras, f"{where}: no extra {extra}"
            seen += 1
        for package in re.findall(r"pip install ([a-z][\w-]*)", text):
            assert package in packages | {"simclr_mri"}, f"{where}: {package} is in no extra: {text!r}"
            seen += 1
    assert seen > 5


def test_a_planted_mistake_is_found():
    tree = ast.parse('def f(x):\n    raise ValueError(f"{x}: try simclr-mri finetunes --init {x} or --epoch 3")')
    (_, text), *_ = texts_of(tree)
    assert text == "X: try simclr-mri finetunes --init X or --epoch 3"
    assert [name for name, _ in COMMAND.findall(text)] == ["finetunes"] and "--epoch" not in ALL_OPTIONS
    assert isinstance(PARSER, argparse.ArgumentParser)
