"""Packages whose names are loaded when they are first used: `import simclr_mri` stays fast, though scikit-learn and
matplotlib are not.

What a package offers is written once, in the stub `__init__.pyi` beside its `__init__.py`. Editors and mypy read
it, and so does this module. The idea is that of lazy_loader (Scientific Python SPEC 1).
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ._moved import forward


def attach_package(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package, from the imports and the `__all__` of its stub.

    Parameters
    ----------
    package, file : str
        Its `__name__` and `__file__`.
    """
    homes, public = _read_stub(Path(file).with_suffix(".pyi"))

    def getattr_(name: str) -> Any:
        if name in homes:
            value = _load(package, homes[name], name)
            vars(importlib.import_module(package))[name] = value
            return value
        found = forward(package, name)
        if found is not None:
            return found[0]
        hint = ""
        if not name.startswith("_"):
            from ._text import did_you_mean

            hint = did_you_mean(name, public)
        raise AttributeError(f"{package} has no '{name}'.{hint}")

    return getattr_, lambda: sorted(public), public


def _read_stub(path: Path) -> tuple[dict[str, str], list[str]]:
    """(relative module of each name, "" + dots for a module that is itself the name; the public names)."""
    homes: dict[str, str] = {}
    public: list[str] | None = None
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            homes |= {alias.name: "." * node.level + (node.module or "") for alias in node.names}
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            public = list(ast.literal_eval(node.value))
    return homes, sorted(homes) if public is None else public


def _load(package: str, home: str, name: str) -> Any:
    if home == ".":
        return importlib.import_module(f".{name}", package)
    return getattr(importlib.import_module(home, package), name)
