"""Advice in messages, in the language of the place: an argument in Python, an option in the shell."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

_shell: ContextVar[bool] = ContextVar("advice is for the shell", default=False)


@contextlib.contextmanager
def for_the_shell() -> Iterator[None]:
    """Within it, advice names options of the command line."""
    token = _shell.set(True)
    try:
        yield
    finally:
        _shell.reset(token)


def in_shell() -> bool:
    """Whether advice is for the command line."""
    return _shell.get()


def option_text(name: str, value: Any) -> str:
    """An argument with its value, ready to type.

    Examples
    --------
    >>> option_text("image_size", 128), option_text("labelled", False)
    ('image_size=128', 'labelled=False')
    >>> with for_the_shell():
    ...     option_text("image_size", 128), option_text("labelled", False), option_text("merge", ["a b,c=d"])
    ('--image-size 128', '--unlabelled', "--merge 'a b,c=d'")
    """
    if not _shell.get():
        return f"{name}={str(value) if hasattr(value, '__fspath__') else value!r}"
    if name == "labelled":
        return "--unlabelled"
    values = value if isinstance(value, (list, tuple)) else [value]
    return f"--{name.replace('_', '-')} " + " ".join(shlex.quote(str(v)) for v in values)


def call_text(function: str, command: str, *paths: Any, **options: Any) -> str:
    """A whole call: `datasets.write_slices('a', out='b')`, or `simclr-mri slices a --out b`."""
    more = [option_text(name, value) for name, value in options.items()]
    if _shell.get():
        return " ".join(["simclr-mri", command, *(shlex.quote(str(p)) for p in paths), *more])
    return f"{function}({', '.join([*(repr(str(p)) for p in paths), *more])})"
