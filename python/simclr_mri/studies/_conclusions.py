"""The paragraph that a study ends in: every sentence computed from the figures, none going beyond its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..metrics import NAMES, Difference

if TYPE_CHECKING:
    from ._result import StudyResult


STARTS = {"random": "random weights", "simclr": "SimCLR"}
"""What the starts are called in sentences."""


def conclusions(result: StudyResult, metric: str = "balanced_accuracy") -> str:
    """Sentences about a study.

    Parameters
    ----------
    result : StudyResult
    metric : str

    Returns
    -------
    str
        One paragraph.
    """
    parts = [_size(result), _rates(result)]
    if {"random", "simclr"} <= set(result.inits):
        parts += _comparison(result, metric)
    parts += [_level(result, metric), _spread(result, metric), _leak(result)]
    return " ".join(part for part in parts if part)


def verdict(difference: Difference) -> str:
    """What an interval of a difference allows to say about pretraining."""
    low, high = difference.difference.low, difference.difference.high
    return "it helped" if low > 0 else "it hurt" if high < 0 else "cannot be told"


def _size(result: StudyResult) -> str:
    seeds = len({arm.seed for arm in result.evaluations})
    counts = [(len(result.inits), "start"), (len(result.fractions), "label fraction"), (seeds, "seed")]
    counts.append((len(result.splits), "split"))
    shape = " x ".join(f"{n} {what}{'' if n == 1 else 's'}" for n, what in counts)
    tested = np.unique(np.concatenate([split.indices["test"] for split in result.splits]))
    ds = result.split.dataset[tested]
    who = f"{ds.n_subjects:,} subjects" if result.level == "subject" else f"{len(ds):,} images"
    return f"{len(result.rows)} networks were trained ({shape}) and judged on {who}."


def _rates(result: StudyResult) -> str:
    if not result.trials:
        return ""
    rates = sorted({trial["lr"] for trial in result.trials})
    found = {}
    for trial in result.trials:
        if trial["chosen"]:
            found.setdefault(trial["init"], set()).add(trial["lr"])
    kept = [f"{STARTS.get(name, name)} {_list([f'{lr:g}' for lr in sorted(lrs)])}" for name, lrs in found.items()]
    return (
        f"Every start tried the learning rates {_list([f'{lr:g}' for lr in rates])} alike, and what was best on "
        f"validation data was kept ({', '.join(kept)})."
    )


def _comparison(result: StudyResult, metric: str) -> list[str]:
    clauses, helped, hurt = [], [], []
    for f, d in result.differences("random", "simclr", metric):
        ahead, pairs = result.wins("random", "simclr", f, metric)
        runs = f"; ahead in {ahead} of {pairs} runs" if pairs > 1 else ""
        low, high = d.difference.low, d.difference.high
        clauses.append(
            f"{d.a:.3f} against {d.b:.3f} with {100 * f:g} % of the labels ({d.difference.value:+.3f}, {low:+.3f} to "
            f"{high:+.3f}{runs}: {verdict(d)})"
        )
        helped += [f"{100 * f:g} %"] if low > 0 else []
        hurt += [f"{100 * f:g} %"] if high < 0 else []
    name = NAMES.get(metric, metric)
    text = (
        f"The {name} by {result.level} from random weights, and after SimCLR (difference and its 95 % interval): "
        f"{'; '.join(clauses)}."
    )
    return [_overall(result, metric, helped, hurt, len(clauses)), text]


def _overall(result: StudyResult, metric: str, helped: list[str], hurt: list[str], n: int) -> str:
    """One sentence over all fractions: it is what n separate intervals cannot say."""
    found = [f"helped with {_list(helped)}" if helped else "", f"hurt with {_list(hurt)}" if hurt else ""]
    said = " and ".join(part for part in found if part) or "made no difference that these test sets can tell"
    text = f"Pretraining {said}{' of the labels' if helped or hurt else ''}"
    mean = result.mean_difference("random", "simclr", metric)
    if n > 1:
        low, high = mean.difference.low, mean.difference.high
        text += f"; over all {n} fractions together the difference is {mean.difference.value:+.3f} ({low:+.3f} to "
        text += f"{high:+.3f}: {verdict(mean)})"
    return f"{text}."


def _level(result: StudyResult, metric: str) -> str:
    """The best arm beside what needs no training."""
    lines = result.summary()
    best = max(lines, key=lambda line: line[metric])
    name = f"{STARTS.get(best['init'], best['init'])} with {100 * best['label_fraction']:g} % of the labels"
    text = f"The best arm is {name}, {best[metric]:.3f}"
    if metric != "balanced_accuracy":
        return f"{text}."
    chance = 1 / len(result.split.dataset.classes)
    above = sum(line[f"{metric}_low"] > chance for line in lines)
    n = f"{above} of {len(lines)} arms {'has' if above == 1 else 'have'}"
    return f"{text}; always answering one class scores {chance:.3f}, and {n} an interval wholly above that."


def _spread(result: StudyResult, metric: str) -> str:
    found = [line[f"{metric}_sd"] for line in result.summary() if line[f"{metric}_sd"] is not None]
    if not found:
        return "Each arm was run once: what another seed or split would give is not known."
    low, high = (f"{value:.3f}" for value in (min(found), max(found)))
    what = low if low == high else f"{low} to {high}"
    return (
        f"Runs of one arm differ by a standard deviation of {what}, which intervals over subjects hold only in part: "
        "a difference smaller than that may be the luck of a seed."
    )


def _leak(result: StudyResult) -> str:
    if result.split.by == "subject":
        return ""
    return (
        "The split is by image, so other slices of the test heads were in training: the scores say how well heads are "
        "remembered, not how well the disease is recognised."
    )


def _list(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
