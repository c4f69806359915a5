"""The stubs _core.pyi and _testing.pyi say what the extension has: names, kinds, and signatures where it tells them."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import _testing
from simclr_mri import _core

STUB = ast.parse((Path(_core.__file__).with_name("_core.pyi")).read_text(encoding="utf-8"))
TESTING_STUB = ast.parse((Path(__file__).parents[1] / "_testing.pyi").read_text(encoding="utf-8"))


def functions(stub: ast.Module) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in stub.body if isinstance(node, ast.FunctionDef)}


MODULES = dict.fromkeys(functions(STUB), _core) | dict.fromkeys(functions(TESTING_STUB), _testing)
FUNCTIONS = functions(STUB) | functions(TESTING_STUB)
CLASSES = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")}
TYPES_ONLY = {"StrPath", "ValueRange", "ConvShape", "Activations"}  # aliases for readers; they are not in the extension


def members(node: ast.ClassDef) -> dict[str, ast.FunctionDef]:
    return {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}


def is_property(node: ast.FunctionDef) -> bool:
    return any(isinstance(d, ast.Name) and d.id == "property" for d in node.decorator_list)


def test_the_same_names():
    public = {name for name in dir(_core) if not name.startswith("_")}
    assert public == set(functions(STUB)) | set(CLASSES)
    assert not TYPES_ONLY & public
    assert {name for name in dir(_testing) if not name.startswith("_")} == set(functions(TESTING_STUB))


def test_what_only_tests_call_is_no_part_of_the_core():
    package = Path(_core.__file__).parent
    text = "\n".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    unused = [name for name in functions(STUB) if not re.search(rf"\b{name}\b", text)]
    assert not unused, f"only tests call {unused}: they belong to python/binding/testing"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_callable_and_documented(name):
    assert callable(getattr(MODULES[name], name))
    assert ast.get_docstring(FUNCTIONS[name]), f"{name} has no docstring in the stub"


@pytest.mark.parametrize("name", CLASSES)
def test_classes_have_the_same_members(name):
    real = getattr(_core, name)
    assert inspect.isclass(real)
    theirs = members(CLASSES[name])
    mine = {key for key in vars(real) if not key.startswith("_")}
    assert mine == {key for key in theirs if not key.startswith("_")}
    for key, node in theirs.items():
        if not key.startswith("_"):
            assert is_property(node) == (not callable(getattr(real, key))), f"{name}.{key}"
    if CLASSES[name].bases:
        assert issubclass(real, ValueError)


CALLABLES = {name: (getattr(MODULES[name], name), node) for name, node in FUNCTIONS.items()} | {
    f"{name}.{key}": (getattr(getattr(_core, name), key), node)
    for name, cls in CLASSES.items()
    for key, node in members(cls).items()
    if not key.startswith("_") and not is_property(node)
}


BINDING = Path(__file__).resolve().parents[2] / "python" / "binding"
WORDS = set(re.findall(r'"(\w+)"', "\n".join(path.read_text() for path in BINDING.rglob("*.c"))))


@pytest.mark.parametrize("name", CALLABLES)
def test_arguments_that_may_be_named_are_names_in_the_binding(name):
    """The extension tells no signatures, so the stub's keywords are looked for in its tables of argument names."""
    _, node = CALLABLES[name]
    if not BINDING.is_dir():
        pytest.skip("needs the sources of the binding")
    keywords = [a.arg for a in (*node.args.args, *node.args.kwonlyargs) if a.arg != "self"]
    assert set(keywords) <= WORDS


@pytest.mark.parametrize("name", CALLABLES)
def test_unknown_arguments_are_refused(name):
    """Misspelt keywords are errors, so the tests that use the functions keep the stub's names true."""
    real, node = CALLABLES[name]
    if "." in name or node.args.kwarg is not None:
        return
    with pytest.raises(TypeError):
        real(no_such_argument=1)
