"""Words for messages: durations, sizes, counts, lists, and the name that was probably meant."""

from __future__ import annotations

import difflib
import functools
import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

from ._advice import option_text

F = TypeVar("F", bound=Callable[..., Any])


def seconds_text(seconds: float) -> str:
    """'48 s', '3 min 20 s', '2 h 05 min'."""
    seconds = round(seconds)
    if seconds < 100:
        return f"{seconds} s"
    if seconds < 6000:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def bytes_text(n_bytes: float) -> str:
    """'40 KB', '812 MB', '1.2 GB'."""
    if n_bytes < 1e6:
        return f"{n_bytes / 1e3:.0f} KB"
    return f"{n_bytes / 1e6:.0f} MB" if n_bytes < 1e9 else f"{n_bytes / 1e9:.1f} GB"


def counted(n: int, noun: str) -> str:
    """'1 epoch', '1,200 epochs'."""
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


# Names of one thing in the libraries that people come from; a package's own is among them.
SYNONYMS = (
    ("random_state", "seed", "split_seed", "random_seed", "rng"),
    ("lr", "learning_rate", "learning_rate_init", "eta0", "base_lr", "max_lr"),
    ("batch_size", "batch", "batchsize", "bs", "train_batch_size", "per_device_train_batch_size"),
    ("epochs", "n_epochs", "num_epochs", "max_epochs", "nb_epochs", "max_iter", "num_train_epochs", "iterations"),
    ("arch", "backbone", "model", "architecture", "network", "model_name", "encoder"),
    ("init", "weights", "pretrained", "checkpoint_path", "start"),
    ("n_jobs", "threads", "n_threads", "num_threads", "num_workers", "workers", "cpus"),
    ("views", "augmentation", "augmentations", "augment", "transform", "transforms", "aug"),
    ("image_size", "img_size", "size", "resize", "input_size", "resolution"),
    ("weight_decay", "wd", "l2", "alpha"),
    ("temperature", "tau", "temp"),
    ("embedding_size", "projection_dim", "embedding_dim", "out_dim", "proj_dim"),
    ("label_fraction", "fraction", "train_size", "labels_fraction", "label_fractions"),
    ("class_weight", "class_weights"),
    ("freeze", "frozen", "frozen_stages", "n_frozen", "freeze_backbone", "freeze_encoder", "freeze_layers"),
    ("layer_decay", "llrd", "layerwise_lr_decay", "layer_wise_lr_decay", "lr_decay_rate"),
    ("layer_rates", "layer_lrs", "lr_mult", "lr_multipliers", "param_groups"),
    ("dropout", "drop_rate", "dropout_rate"),
    ("schedule", "scheduler", "lr_scheduler", "lr_schedule"),
    ("warmup_epochs", "warmup", "n_warmup_epochs"),
    ("groups", "subjects", "group", "patients", "subject"),
    ("verbose", "verbosity", "progress"),
    ("n_images", "num_images"),
    ("splits", "n_splits", "cv", "folds", "n_folds", "k"),
    ("seeds", "n_seeds", "repeats"),
    ("out", "output", "output_dir", "out_dir", "save_dir", "outdir", "checkpoint"),
    ("precision", "dtype", "amp", "fp16", "bf16", "mixed_precision"),
    ("wire", "compression", "gradient_compression", "comm_hook", "wire_dtype"),
    ("channels", "n_channels", "in_channels"),
)


def _other_name(name: str, known: Sequence[str]) -> str | None:
    """What is called `name` elsewhere; `--a.b-c` is looked for as b_c."""
    plain = name.lower().lstrip("-").rpartition(".")[2].replace("-", "_")
    named = {word.lstrip("-").rpartition(".")[2].replace("-", "_"): word for word in reversed(known)}
    prefix = name.lstrip("-").rpartition(".")[0]
    for names in SYNONYMS:
        if plain not in names:
            continue
        for other in names:
            exact = f"--{prefix}.{other.replace('_', '-')}" if prefix else None
            if exact in known:
                return exact
            if other != plain and other in named:
                return named[other]
    return None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ " Did you mean 'x'?" for the nearest known name, or the list of them if none is near.

    Examples
    --------
    >>> did_you_mean("learning_rate", ["lr", "epochs"]), did_you_mean("--n-epochs", ["--lr", "--epochs"])
    (" Did you mean 'lr'?", " Did you mean '--epochs'?")
    """
    known = list(known)
    other = _other_name(name, known)
    if other is not None:
        return f" Did you mean '{other}'?"
    begun = [word for word in known if len(name.strip("-")) > 2 and word.startswith(name)]
    bare = {word.lstrip("-"): word for word in reversed(known)}  # the dashes, which all have, are no likeness
    near = begun if len(begun) == 1 else [bare[w] for w in difflib.get_close_matches(name.lstrip("-"), bare, 1, 0.6)]
    return f" Did you mean '{near[0]}'?" if near else f" Known: {', '.join(known)}."


def suggests_names(function: F) -> F:
    """A function that answers an unknown argument with the name that was probably meant.

    Examples
    --------
    >>> @suggests_names
    ... def train(data, *, lr=0.1): ...
    >>> train([], learning_rate=0.2)
    Traceback (most recent call last):
    TypeError: train: unknown argument 'learning_rate'. Did you mean 'lr'?
    """
    known = list(inspect.signature(function).parameters)

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for name in kwargs:
            if name not in known:
                raise TypeError(f"{function.__name__}: unknown argument '{name}'.{did_you_mean(name, known)}")
        return function(*args, **kwargs)

    return cast(F, checked)


def choose(argument: str, value: Any, known: Sequence[Any]) -> Any:
    """`value` if it is one of `known`, else a ValueError that helps."""
    is_array = getattr(value, "ndim", None) not in (None, 0)  # == of an array has no one answer
    if is_array or value not in known:
        raise ValueError(f"{option_text(argument, value)} is unknown.{did_you_mean(str(value), map(str, known))}")
    return value


def text_table(head: Sequence[str], rows: Iterable[Sequence[str]], align: str = "right") -> str:
    """Rows of text under a head, in columns as wide as they need.

    Examples
    --------
    >>> print(text_table(["labels", "random"], [["1 %", "0.31"], ["100 %", "0.62"]]))
    labels  random
       1 %    0.31
     100 %    0.62
    """
    table = [list(head), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = zip(row, widths, strict=True)
        lines.append("  ".join(c.rjust(w) if align == "right" else c.ljust(w) for c, w in cells).rstrip())
    return "\n".join(lines)


def callable_name(value: Any) -> str:
    """Where a function comes from; of an object that can be called, its class.

    Examples
    --------
    >>> callable_name(natural_key)
    'simclr_mri._shared._text.natural_key'
    """
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def natural_key(text: str) -> list[tuple[bool, int, str]]:
    """Sorts `non_2.jpg` before `non_10.jpg`."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", text)]


def some(names: Sequence[str], n: int = 5) -> str:
    """The first few names."""
    return ", ".join(names[:n]) + (f" and {len(names) - n:,} more" if len(names) > n else "")


def short(name: str) -> str:
    """A class name for small places: "Very_Mild_Demented" becomes "Very Mild"."""
    return name.replace("_Demented", "").replace("_", " ")
