"""Packages whose names are loaded when they are first used: `import simclr_mri` stays fast, though scikit-learn and
matplotlib are not.

What a package offers is written once, in the stub `__init__.pyi` beside its `__init__.py`. Editors and mypy read it,
and so does this module, when the first name is asked for. The idea is that of lazy_loader (Scientific Python SPEC 1).
"""

from __future__ import annotations

import importlib
import sys

from ._moved import forward

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def attach_package(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package, from the imports and the `__all__` of its stub.

    Parameters
    ----------
    package, file : str
        Its `__name__` and `__file__`.
    """
    offered: list[tuple[dict[str, str], list[str]]] = []  # read once

    def stub() -> tuple[dict[str, str], list[str]]:
        if not offered:
            offered.append(read_stub(file.removesuffix(".py") + ".pyi"))
        return offered[0]

    def getattr_(name: str) -> Any:
        if name.startswith("__") and name not in ("__all__", "__version__"):
            raise AttributeError(f"{package} has no '{name}'.")
        homes, public = stub()
        if name == "__all__":
            value = public
        elif name in homes:
            value = _load(package, homes[name], name)
        elif (found := forward(package, name)) is not None:
            return found[0]
        else:
            raise AttributeError(f"{package} has no '{name}'.{_hint(name, public, homes, file)}")
        vars(sys.modules[package])[name] = value
        return value

    return getattr_, lambda: sorted(stub()[1])


def read_stub(path: str) -> tuple[dict[str, str], list[str]]:
    """(the relative module of each name, "." for a name that is a module itself; the names for users)."""
    import ast

    homes: dict[str, str] = {}
    public: list[str] = []
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.level:
            homes |= {alias.name: "." * node.level + (node.module or "") for alias in node.names}
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            public = list(ast.literal_eval(node.value))
    return homes, public


def _load(package: str, home: str, name: str) -> Any:
    if home == ".":
        return importlib.import_module(f".{name}", package)
    return getattr(importlib.import_module(home, package), name)


def _hint(name: str, public: list[str], homes: dict[str, str], file: str) -> str:
    if name.startswith("_"):
        return ""
    from ._text import did_you_mean

    for room in (module for module in public if homes.get(module) == "."):
        stub = f"{file.removesuffix('__init__.py')}{room}/__init__.pyi"
        if name in read_stub(stub)[1]:
            return f" Did you mean '{room}.{name}'?"
    return did_you_mean(name, public)
