"""Whether a checkpoint's values are ones that a run can write: types and ranges, for files whose digests do not help.

A digest finds damage, and only in files that have one. What is checked here would go on silently otherwise: a position
behind the end of an epoch, a variance below 0, a text where a number belongs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .._shared import ARCHS

_MOST_COUNT = 2**53
_MOST_SIDE_PX = 65_500


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MOST_COUNT


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_duration(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_name_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_head(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(layer, list)
        and len(layer) == 3
        and _is_count(layer[0])
        and layer[0] > 0
        and _is_number(layer[1])
        and 0 <= layer[1] < 1
        and isinstance(layer[2], bool)
        for layer in value
    )


def _is_preprocess(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    mean, std = value.get("mean"), value.get("std")
    return _are_numbers(mean) and _are_numbers(std) and all(number > 0 for number in std or ())


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(map(_is_number, value))


def _is_collapse(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_number(number) for number in value.values())


_Rule = tuple[Callable[[Any], bool], str]
_COUNT: _Rule = (_is_count, "a whole number of 0 or more")
_NUMBER: _Rule = (_is_number, "a finite number")
_DURATION: _Rule = (_is_duration, "a finite number of 0 or more")
_OPTIONAL_NUMBER: _Rule = (lambda value: value is None or _is_number(value), "a finite number or null")
_DICT: _Rule = (lambda value: isinstance(value, dict), "an object")

# Keys that a file of an earlier version may lack are checked where they are there; others may be added.
_RULES: dict[str, dict[str, _Rule]] = {
    "network": {
        "arch": (lambda value: value in ARCHS, f"one of {', '.join(ARCHS)}"),
        "image_size": (lambda value: _is_count(value) and 0 < value <= _MOST_SIDE_PX, "a number of pixels"),
        "in_channels": (lambda value: value in (1, 3) and type(value) is int, "1 or 3"),
        "features": (lambda value: value in ("avgpool", "flatten"), "'avgpool' or 'flatten'"),
        "head": (_is_head, "rows of (outputs, dropout, relu)"),
        "head_name": (lambda value: _is_text(value) and len(value) < 16, "a short name"),
    },
    "progress": {
        "epoch": _COUNT,
        "step_in_epoch": _COUNT,
        "step": _COUNT,
        "loss_sum": _NUMBER,
        "n_images": _COUNT,
        "n_correct": _COUNT,
        "seconds": _DURATION,
        "finished": (lambda value: isinstance(value, bool), "true or false"),
    },
    "extra": {
        "preprocess": (_is_preprocess, "means and standard deviations"),
        "data": _DICT,
        "classes": (_is_name_list, "a list of names"),
        "best_epoch": _COUNT,
        "best_score": _OPTIONAL_NUMBER,
        "temperature": (lambda value: _is_number(value) and value > 0, "a number above 0"),
        "collapse": (_is_collapse, "an object of numbers"),
        "chance": _NUMBER,
    },
    "config": {},
}


def check_values(values: Mapping[str, Any]) -> None:
    """ValueError, which says where, unless the metadata's values are ones that a run can write.

    Parameters
    ----------
    values : mapping
        kind, config, network, progress, extra and history of a `Checkpoint`.
    """
    if not isinstance(values["kind"], str):
        raise ValueError("kind: expected a text")
    for part, rules in _RULES.items():
        if not isinstance(values[part], dict):
            raise ValueError(f"{part}: expected an object, got {type(values[part]).__name__}")
        for key, (holds, expected) in rules.items():
            if key in values[part] and not _holds(holds, values[part][key]):
                raise ValueError(f"{part}.{key}: expected {expected}, got {_shown(values[part][key])}")
    history = values["history"]
    if not isinstance(history, list) or not all(isinstance(row, dict) for row in history):
        raise ValueError("history: expected a list of rows")
    _check_position(values["progress"], len(history))


def _holds(rule: Callable[[Any], bool], value: Any) -> bool:
    try:
        return rule(value)
    except TypeError:  # what cannot be compared or hashed
        return False


def _check_position(progress: Mapping[str, Any], n_rows: int) -> None:
    step, within = progress.get("step", 0), progress.get("step_in_epoch", 0)
    if within > step:
        raise ValueError(f"progress.step_in_epoch: expected at most progress.step, {step}, got {within}")
    if progress.get("n_correct", 0) > progress.get("n_images", 0):
        raise ValueError("progress.n_correct: expected at most progress.n_images")
    if n_rows > progress.get("epoch", n_rows):
        raise ValueError(f"history: expected at most a row for each of {progress['epoch']} epochs, got {n_rows}")
    unknown = set(progress) - set(_RULES["progress"])
    if unknown:
        raise ValueError(f"progress.{min(unknown)}: no position of a run has it")


def _shown(value: Any) -> str:
    """A value as a message may show it: a file may hold one that fills the screen."""
    text = repr(value) if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"
    return text if len(text) <= 40 else f"{text[:40]}..."


def check_tensors(tensors: Mapping[str, np.ndarray], progress: Mapping[str, Any]) -> None:
    """ValueError unless all numbers are finite, variances and second moments not below 0, and the optimizer's step is
    the position's."""
    for name, array in tensors.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{name} holds numbers that are not finite (NaN or infinity)")
        is_square = name.endswith("running_var") or name.startswith("optimizer/exp_avg_sq/")
        if is_square and array.size and array.min() < 0:
            raise ValueError(f"{name} holds numbers below 0, the lowest {array.min():g}")
    step = tensors.get("optimizer/step")
    if step is not None and (step.ndim != 0 or step.dtype.kind != "i" or step < 0):
        raise ValueError("optimizer/step: expected one whole number of 0 or more")
    if step is not None and "step" in progress and int(step) != progress["step"]:
        raise ValueError(f"optimizer/step is {int(step)}, progress.step is {progress['step']}: damaged")
