"""Advice in messages, in the language of the place: an argument in Python, an option in the shell."""

from __future__ import annotations

import contextlib
import functools
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

_shell: ContextVar[bool] = ContextVar("advice is for the shell", default=False)
_prefixed: ContextVar[Sequence[str]] = ContextVar("sections whose options have a prefix", default=())
_section: ContextVar[str] = ContextVar("whose options are talked about", default="")


@contextlib.contextmanager
def for_the_shell(prefixed: Sequence[str] = ()) -> Iterator[None]:
    """Within it, advice names options of the command line; those of `prefixed` sections are `--section.name`."""
    tokens = _shell.set(True), _prefixed.set(tuple(prefixed))
    try:
        yield
    finally:
        _shell.reset(tokens[0])
        _prefixed.reset(tokens[1])


@contextlib.contextmanager
def options_of(section: str) -> Iterator[None]:
    """Within it, advice is about the options of a section: "pretrain" or "finetune"."""
    token = _section.set(section)
    try:
        yield
    finally:
        _section.reset(token)


def about_options(method: F) -> F:
    """A method of an estimator, in which advice is about the options of its `section`."""

    @functools.wraps(method)
    def within(self: Any, *args: Any, **kwargs: Any) -> Any:
        with options_of(self.section):
            return method(self, *args, **kwargs)

    return cast(F, within)


def in_shell() -> bool:
    """Whether advice is for the command line."""
    return _shell.get()


def in_words(python: str, shell: str) -> str:
    """Which of two texts is for this place."""
    return shell if _shell.get() else python


def option_name(name: str) -> str:
    """An argument's name as it is typed.

    Examples
    --------
    >>> option_name("batch_size")
    'batch_size'
    >>> with for_the_shell(prefixed=["finetune"]), options_of("finetune"):
    ...     option_name("batch_size")
    '--finetune.batch-size'
    """
    if not _shell.get():
        return name
    prefix = f"{_section.get()}." if _section.get() in _prefixed.get() else ""
    return f"--{prefix}{name.replace('_', '-')}"


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
    if isinstance(value, bool):
        return option_name(name if value else f"no_{name}")
    if isinstance(value, dict):
        value = ",".join(f"{key}={number:g}" for key, number in value.items())
    values = value if isinstance(value, (list, tuple)) else ["none" if value is None else value]
    return f"{option_name(name)} " + " ".join(shlex.quote(str(v)) for v in values)


def call_text(function: str, command: str, *paths: Any, **options: Any) -> str:
    """A whole call: `datasets.write_slices('a', out='b')`, or `simclr-mri slices a --out b`."""
    more = [option_text(name, value) for name, value in options.items()]
    if _shell.get():
        return " ".join(["simclr-mri", command, *(shlex.quote(str(p)) for p in paths), *more])
    return f"{function}({', '.join([*(repr(str(p)) for p in paths), *more])})"
