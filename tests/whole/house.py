"""Who imports whom in python/simclr_mri, read from the source by `ast`: what test_layering.py judges."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Each package may import the core, `_shared` and those listed; `__init__` and `__main__` of the root are outside.
MAY_IMPORT: dict[str, set[str]] = {
    "_shared": set(),
    "metrics": set(),
    "config": set(),
    "datasets": set(),
    "weights": set(),
    "views": {"datasets"},
    "splits": {"datasets"},
    "plot": {"metrics", "datasets", "views"},
    "explain": {"metrics", "datasets", "views", "plot"},
    "audits": {"metrics", "datasets", "splits", "plot"},
    "learning": {"metrics", "config", "datasets", "views", "weights", "splits", "plot"},
}
MAY_IMPORT["studies"] = {*MAY_IMPORT["learning"], "learning", "explain"}
MAY_IMPORT["tracking"] = {*MAY_IMPORT["studies"], "studies"}
MAY_IMPORT["bench"] = {*MAY_IMPORT["studies"], "studies"}
MAY_IMPORT["demo"] = MAY_IMPORT["bench"]
MAY_IMPORT["cli"] = {*MAY_IMPORT} - {"cli"}

# Foreign modules that have one home, as the beginnings of paths.
FOREIGN_HOMES = {
    "argparse": ("cli/",),
    "IPython": ("_shared/_notebook.py",),
    "matplotlib": ("plot/", "audits/_page.py", "studies/_plots.py"),
    "fcntl": ("_shared/",),
    "resource": ("_shared/",),
    "mpi4py": ("learning/_ranks.py", "learning/_sums.py"),
    "signal": ("learning/_interrupts.py", "__main__.py"),
}
MAY_PRINT = ("cli/", "demo.py", "__main__.py", "_shared/_progress.py")
PROTOCOL = ("_repr_html_", "_repr_mimebundle_")


@dataclass(frozen=True)
class Import:
    """One imported name: from which file, at which line, what, and whether only for the type checker."""

    file: str
    line: int
    package: str  # where it comes from; "" for the root
    module: str  # within that package; "" for its door
    name: str
    is_typed_only: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.name} from {self.package or 'the root'}.{self.module}"


def package_of(file: str) -> str:
    return file.split("/")[0].removesuffix(".py")


def sources(root: Path) -> dict[str, ast.Module]:
    """Relative path to tree, of every module."""
    files = sorted(root.rglob("*.py"))
    return {str(path.relative_to(root)): ast.parse(path.read_text(encoding="utf-8")) for path in files}


def imports_of(file: str, tree: ast.Module) -> Iterator[Import]:
    """Imports of this package's own modules: at the top, in functions, and for the type checker."""
    typed = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    here = file.split("/")[:-1]
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "simclr_mri":
                raise AssertionError(f"{file}:{node.lineno}: inside the package imports are relative")
            continue
        place = here[: len(here) - (node.level - 1)] + (node.module.split(".") if node.module else [])
        for alias in node.names:
            whole = place or [alias.name]
            yield Import(file, node.lineno, whole[0], ".".join(whole[1:]), alias.name, id(node) in typed)


def stub_homes(root: Path, package: str) -> dict[str, str]:
    """The file behind each name of a package's door."""
    stub = root / package / "__init__.pyi"
    if not stub.exists():
        return {}
    homes = {}
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            for alias in node.names:
                homes[alias.name] = f"{package}/{(node.module or alias.name).replace('.', '/')}.py"
    return homes


def edges_at_run_time(root: Path) -> dict[str, set[str]]:
    """File to the files that it imports when it runs, at the top or in functions, seen through the doors."""
    trees = sources(root)
    homes = {package: stub_homes(root, package) for package in MAY_IMPORT}
    graph: dict[str, set[str]] = {file: set() for file in trees}
    for file, tree in trees.items():
        modules = {}
        for found in imports_of(file, tree):
            if found.is_typed_only:
                continue
            if found.module:
                graph[file].add(f"{found.package}/{found.module.replace('.', '/')}.py")
            elif found.name == found.package:
                modules[found.name] = found.package
            elif found.name in homes.get(found.package, {}):
                graph[file].add(homes[found.package][found.name])
            elif found.package == package_of(file):  # a sibling module, or a name of a sub-package
                graph[file].add(f"{'/'.join(file.split('/')[:-1])}/{found.name}.py")
        for node in ast.walk(tree):
            is_of_door = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
            if is_of_door and modules.get(node.value.id) in homes:
                graph[file].add(homes[modules[node.value.id]].get(node.attr, ""))
    return {file: {other for other in others if other in trees} for file, others in graph.items()}


def offences(root: Path) -> list[str]:
    """What breaks the rules, other than circles; a line each."""
    return [line for file, tree in sources(root).items() for line in offences_of(file, tree)]


def offences_of(file: str, tree: ast.Module) -> Iterator[str]:
    package = package_of(file)
    for found in imports_of(file, tree):
        if package not in MAY_IMPORT or found.package not in MAY_IMPORT or found.package == package:
            continue
        if found.package != "_shared" and found.package not in MAY_IMPORT[package]:
            yield f"{found}, which lies above or beside it"
        if found.module:
            yield f"{found}, not through the door"
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)) and not getattr(node, "level", 0):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            for name in {name.split(".")[0] for name in names} & FOREIGN_HOMES.keys():
                if not file.startswith(FOREIGN_HOMES[name]):
                    yield f"{file}:{node.lineno} imports {name}, whose home is {' or '.join(FOREIGN_HOMES[name])}"
        if isinstance(node, ast.ImportFrom) and node.level and node.module:
            for alias in node.names:
                if alias.name.startswith("_") and not alias.name.startswith("__") and alias.name != "_core":
                    yield f"{file}:{node.lineno} imports {alias.name}, which is private to {node.module}"
        if isinstance(node, ast.Attribute) and _is_private_of_another(node):
            yield f"{file}:{node.lineno} uses {ast.unparse(node)}, which is private"
        is_print = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        if is_print and not file.startswith(MAY_PRINT):
            yield f"{file}:{node.lineno} prints; use _shared.say or the log"


def _is_private_of_another(node: ast.Attribute) -> bool:
    if not node.attr.startswith("_") or node.attr.startswith("__") or node.attr in PROTOCOL:
        return False
    owner = ast.unparse(node.value)
    if (owner, node.attr.startswith("_foreach_")) == (
        "torch",
        True,
    ):  # PyTorch documents them, and has no other name for them
        return False
    return owner not in ("self", "cls", "super()", "out", "type(self)")
