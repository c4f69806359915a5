"""Options: one description of each, used by Python, TOML files and the shell.

An option is a dataclass field made by `option(default, help, ...)`; a section (config.py) is a dataclass of them. This
module checks values, merges their sources (default < recipe < file < explicit) and builds argparse parsers, so that a
name, a default, a range and a help text are written once.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import tomllib
import types
import typing
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_args

from .._shared import (
    MAX_THREADS,
    REMEMBERED,
    Recipe,
    choose,
    did_you_mean,
    in_words,
    option_name,
    option_text,
    options_of,
)
from ._mappings import check_mapping, parse_mapping, takes_mapping

T = TypeVar("T")


RECIPES: tuple[Recipe, ...] = get_args(Recipe)

COMMAND_LINE = "command line"  # where values come from that were typed

RENAMED = {"recipe": {"seed": "paper"}, "head": {"seed": "paper"}}
"""Values of options that have another name now, by option: the old name works for one version, and warns."""


def new_name(option: str, value: Any, stacklevel: int | None = None) -> Any:
    """What the value of an option is called now; warns of an old name if it is said at which level of the stack."""
    new = RENAMED.get(option, {}).get(value) if isinstance(value, str) else None
    if new is None:
        return value
    if stacklevel is not None:
        warnings.warn(
            f"{option} {value!r} is called {new!r} now; the old name goes with the next version",
            FutureWarning,
            stacklevel=stacklevel + 1,
        )
    return new


def with_new_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """Options as an earlier version kept them, with the values' names of now."""
    return {name: new_name(name, value) for name, value in config.items()}


def option(
    default: Any,
    help: str,
    *,
    group: str,
    choices: Sequence[Any] | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    because: str = "",
    positional: bool = False,
    words: Sequence[str] = (),
) -> Any:
    """A dataclass field with its help text, its group and the values it may take (None is allowed where typed so).

    Numbers are finite, from `at_least` to `at_most` or `below`; `because` says why in the error. One of `words` may
    stand alone in the place of several numbers.
    """
    metadata: dict[str, Any] = {"help": help, "group": group, "choices": choices}
    metadata |= {"at_least": at_least, "at_most": at_most, "below": below, "because": because, "words": words}
    return dataclasses.field(default=default, metadata=metadata, kw_only=not positional)


def threads_option(group: str) -> Any:
    """The option `n_jobs`."""
    text = "threads (none or -1: all that this process may use); SMRI_PIN_THREADS=0 leaves their placing to the system"
    because = "the core starts no more threads"
    return option(None, text, group=group, at_least=-1, at_most=MAX_THREADS, because=because)


@functools.cache
def hints(section: type) -> dict[str, Any]:
    return typing.get_type_hints(section)


def option_fields(section: type) -> tuple[dataclasses.Field, ...]:
    """The fields of a section that are options (an estimator may have others, such as `init`)."""
    return tuple(field for field in dataclasses.fields(section) if "help" in field.metadata)


def optional_type(kind: Any) -> tuple[Any, bool]:
    """(the type, whether None is allowed) of an annotation such as `int | None`."""
    if kind is Any:
        return str, False
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        inner = [part for part in typing.get_args(kind) if part is not type(None)]
        return optional_type(inner[0])[0], len(inner) < len(typing.get_args(kind))
    return (type(get_args(kind)[0]) if typing.get_origin(kind) is typing.Literal else kind), False


def words_of(kind: Any) -> tuple[Any, ...]:
    """The words of the Literal in an annotation such as `Fit`, `Part | None` or `tuple[Layer, ...]`; () for others."""
    if typing.get_origin(kind) is typing.Literal:
        return get_args(kind)
    return next((words for part in get_args(kind) if (words := words_of(part))), ())


def take_choices(section: type) -> None:
    """Gives the options of a section the choices that their types name: the words are written once, in the Literal."""
    for field in option_fields(section):
        if words := words_of(hints(section)[field.name]):
            field.metadata = types.MappingProxyType({**field.metadata, "choices": words})


def _name_of(kind: Any) -> str:
    return "numbers by name" if typing.get_origin(kind) is dict else kind.__name__


def _as_scalar(kind: type, value: Any) -> Any:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is float and is_number:
        return float(value)
    if kind is int and is_number and float(value).is_integer():
        return int(value)
    if kind in (bool, str) and isinstance(value, kind):
        return value
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:  # a NumPy scalar
        return _as_scalar(kind, value.item())
    raise ValueError(_name_of(kind))


def check_value(section: type, name: str, value: Any, where: str = "") -> Any:
    """`value` as the option's type; ValueError naming the option, what was expected and what was found."""
    field = next(field for field in dataclasses.fields(section) if field.name == name)
    if hints(section)[name] is Any:  # checked by its owner, such as Classifier's init
        return value
    if _takes_callable(hints(section)[name]) and (callable(value) or str(value).startswith(REMEMBERED)):
        return value
    if takes_mapping(hints(section)[name]) and (found := _mapping(name, value, where)) is not None:
        return found
    kind, may_be_none = optional_type(hints(section)[name])
    value = new_name(name, value, stacklevel=2)
    if isinstance(value, (list, tuple)) and list(value) == [None]:  # "none" for an option that takes several values
        value = None
    if may_be_none and (value is None or (isinstance(value, str) and value.lower() == "none")):  # TOML has no null
        return None
    is_tuple = typing.get_origin(kind) is tuple
    item = optional_type(typing.get_args(kind)[0])[0] if is_tuple else kind
    if is_tuple and (isinstance(value, str) or not isinstance(value, Iterable)):
        value = (value,)
    if is_tuple and len(given := tuple(value)) == 1 and given[0] in field.metadata["words"]:
        return given
    try:
        values = tuple(_as_scalar(item, part) for part in value) if is_tuple else (_as_scalar(item, value),)
    except ValueError:
        expected = f"a list of {item.__name__}" if is_tuple else _name_of(item)
        raise ValueError(f"{_named(name, where)}: expected {expected}, got {value!r}") from None
    for part in values:
        _check_range(field, part, where, takes_mapping(hints(section)[name]))
    return values if is_tuple else values[0]


def _takes_callable(kind: Any) -> bool:
    return any(typing.get_origin(part) is Callable for part in typing.get_args(kind))


def _mapping(name: str, value: Any, where: str) -> dict[str, float] | None:
    """Numbers by name, in any of their forms; None for another value."""
    if isinstance(value, str) and "=" in value:
        try:
            value = parse_mapping(value)
        except ValueError as error:
            raise ValueError(f"{_named(name, where)}: {error}") from None
    return check_mapping(value, _named(name, where)) if isinstance(value, Mapping) else None


def _named(name: str, where: str, *value: Any) -> str:
    """An option, and its value if that is given, as it is written in the place that it comes from."""
    if where in ("", COMMAND_LINE):
        return option_text(name, *value) if value else option_name(name)
    return f"{where}: {name}" + (f"={value[0]!r}" if value else "")


def _check_range(field: dataclasses.Field, value: Any, where: str, takes_mapping: bool = False) -> None:
    choices, low, high, below = (field.metadata[key] for key in ("choices", "at_least", "at_most", "below"))
    said = _named(field.name, where, value)
    because = field.metadata["because"] and f", because {field.metadata['because']}"
    if choices is not None:
        if value not in choices:
            other = (
                in_words(" Or give a dict of numbers.", " Or give NAME=NUMBER,NAME=NUMBER.") if takes_mapping else ""
            )
            raise ValueError(f"{said} is unknown.{did_you_mean(str(value), map(str, choices))}{other}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{said}: expected a finite number")
    if low is not None and not value >= low:
        raise ValueError(f"{said}: expected at least {low}{because}")
    if high is not None and not value <= high:
        share = f" ({value:g} % is {value / 100:g})" if high == 1 and 1 < value <= 100 else ""
        raise ValueError(f"{said}: expected at most {high}{share}{because}")
    if below is not None and not value < below:
        raise ValueError(f"{said}: expected less than {below}{because}")


def checked(given: Any, section: type[T]) -> T:
    """The options of a section or estimator as a section of checked values; `given` stays as it is.

    What training, checkpoints and manifests use are these: NumPy's numbers become Python's, 4.0 becomes 4 where a whole
    number is wanted.
    """
    return section(**{f.name: check_value(section, f.name, getattr(given, f.name)) for f in option_fields(section)})


def check_names(section: type, names: Iterable[str], where: str) -> None:
    known = [field.name for field in option_fields(section)]
    for name in names:
        if name not in known:
            raise ValueError(f"{where}: unknown option '{name}'.{did_you_mean(name, known)}")


def read_toml(path: str | Path) -> dict[str, Any]:
    """Sections of a configuration file; ValueError with the file's name if it is not valid TOML."""
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise FileNotFoundError(f"{option_name('config')} {path}: no such file") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not valid TOML: it is no text in UTF-8. Save it as that") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: not valid TOML: {error}") from None
    except RecursionError:
        raise ValueError(f"{path}: not valid TOML: too deeply nested") from None


@functools.cache
def _recipe(name: str) -> dict[str, dict[str, Any]]:
    choose("recipe", name, RECIPES)
    text = resources.files(__package__).joinpath("recipes", f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def recipe_values(name: str, section_name: str, section: type) -> dict[str, Any]:
    """What the recipe `name` says about one section (it may say nothing)."""
    values = _recipe(new_name("recipe", name)).get(section_name, {})
    return {key: check_value(section, key, value, f"recipe {name} [{section_name}]") for key, value in values.items()}


def merged(section_name: str, section: type[T], sources: Sequence[tuple[str, Mapping[str, Any]]]) -> T:
    """A section from (where, values) pairs, later ones winning; unknown names and bad values are errors."""
    values: dict[str, Any] = {}
    for where, given in sources:
        check_names(section, given, f"{where} [{section_name}]")
        with options_of(section_name):
            values |= {name: check_value(section, name, value, where) for name, value in given.items()}
    return section(**values)


def takes_recipe(section_name: str) -> Callable[[type[T]], type[T]]:
    """Class decorator: arguments that are not given come from the recipe, and are stored as if they had been given.

    So `get_params` tells what will really be used, and `sklearn.base.clone` passes every value on.
    """

    def decorate(cls: type[T]) -> type[T]:
        plain = cls.__init__
        # dataclass leaves names behind that only the module of the section knows; whoever reads the signature does not
        known_types = hints(cls)  # type: ignore[arg-type]
        plain.__annotations__.update({name: known_types[name] for name in plain.__annotations__ if name in known_types})
        signature = inspect.signature(plain)

        @functools.wraps(plain)
        def __init__(self: T, *args: Any, **kwargs: Any) -> None:
            known = list(signature.parameters)[1:]
            for name in kwargs:
                if name not in known:
                    raise TypeError(f"{cls.__name__}: unknown argument '{name}'.{did_you_mean(name, known)}")
            given = signature.bind(self, *args, **kwargs).arguments
            given.pop("self")
            for name in RENAMED.keys() & given.keys():
                given[name] = new_name(name, given[name], stacklevel=2)
            plain(self, **{**recipe_values(given.get("recipe", "default"), section_name, cls), **given})

        cls.__init__ = __init__  # type: ignore[method-assign,assignment]
        return cls

    return decorate
