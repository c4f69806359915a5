"""Options that were typed and have no effect beside the others: they are said, and not ignored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .._shared import option_name, options_of

LABELS_AND_SPLIT = ("task", "merge", "class_order", "labels", "by", "split", "split_seed", "folds", "fold")


def _is_safetensors(section: Any) -> bool:
    return str(section.out).endswith(".safetensors")


def _is_rebalanced(section: Any) -> bool:
    return section.sampling == "balanced" and not isinstance(section.class_weight, dict)


# Section, option, when it has no effect, and what would give it one.
RULES: tuple[tuple[str, str, Callable[[Any], bool], str], ...] = (
    *(
        rule
        for section in ("pretrain", "finetune")
        for rule in (
            (section, "rho", lambda o: o.sharpness == "none", "without {sharpness} sam or asam"),
            (section, "nesterov", lambda o: o.optimizer != "sgd", "without {optimizer} sgd"),
            (section, "warmup_epochs", lambda o: o.schedule != "cosine", "without {schedule} cosine"),
            (section, "lr", lambda o: o.lr == 0, "at 0: the weights stay as they are"),
            (section, "epochs", lambda o: o.epochs == 0, "on the weights: nothing is trained, and the start is saved"),
        )
    ),
    ("finetune", "fraction_by", lambda o: o.label_fraction == 1, "without a {label_fraction} below 1"),
    ("finetune", "class_weight", _is_rebalanced, "beside {sampling} balanced, which replaces it"),
    ("data", "fold", lambda o: o.folds == 1, "without {folds}"),
    *(
        ("data", name, lambda o: o.split == ("given",), "beside {split} given, which takes the parts as they are")
        for name in ("by", "split_seed")
    ),
    *(
        ("data", name, lambda o: o.unlabelled, "beside {unlabelled}: there are neither labels nor a split")
        for name in LABELS_AND_SPLIT
    ),
    ("export", "opset", _is_safetensors, "on a .safetensors file; it is for .onnx"),
    ("export", "rgb_stem", lambda o: not _is_safetensors(o), "on ONNX; it is for .safetensors"),
)


def without_effect(sections: Mapping[str, Any], typed: Mapping[str, set[str]]) -> Iterator[str]:
    """A sentence for each option of `typed`, by section, that the others make useless."""
    for section, name, is_useless, why in RULES:
        if name not in typed.get(section, ()) or not is_useless(sections[section]):
            continue
        with options_of(section):
            words = {word: option_name(word) for word in vars(sections[section])}
            yield f"{option_name(name)} has no effect {why.format(**words)}"
