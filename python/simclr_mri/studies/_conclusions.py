"""The paragraph that a study ends in: every sentence computed from the figures, none going beyond its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._shared import Metric, option_text
from ..metrics import NAMES, Difference, Estimate

if TYPE_CHECKING:
    from ._result import StudyResult


_OPENINGS = {
    "it helped": "SimCLR pretraining helped",
    "it hurt": "SimCLR pretraining hurt",
    "not distinguishable from zero": "No effect of SimCLR pretraining was shown",
    "too few subjects to tell": "There are too few test subjects to tell whether SimCLR pretraining helps",
    "ahead with this one seed; another was not tried": "SimCLR pretraining was ahead with the one seed that was tried",
    "behind with this one seed; another was not tried": "SimCLR pretraining was behind with the one seed that was "
    "tried",
}
"""How the one sentence begins, by verdict."""

STARTS = {"random": "random weights", "simclr": "SimCLR"}
"""What the starts are called in sentences."""


def conclusions(result: StudyResult, metric: Metric = "balanced_accuracy") -> str:
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
    return " ".join(findings(result, metric))


def findings(result: StudyResult, metric: Metric = "balanced_accuracy") -> list[str]:
    """The same, each finding by itself."""
    parts = [_size(result), _rates(result)]
    if {"random", "simclr"} <= set(result.inits):
        parts += _comparison(result, metric)
    parts += [_level(result, metric), _spread(result, metric), leak(result)]
    return [part for part in parts if part]


def headline(result: StudyResult, metric: Metric = "balanced_accuracy") -> str:
    """One sentence: whether pretraining helped, by how much, over whom, and what the study could have seen.

    Without both starts it names the best arm.
    """
    fractions = [f for f, _ in result.differences("random", "simclr", metric)]
    d = result.mean_difference("random", "simclr", metric)
    if d is None:
        return _level(result, metric)
    where = f"over all {len(fractions)} label fractions together" if len(fractions) > 1 else _labels(fractions[0])
    text = (
        f"{_OPENINGS[verdict(d)]}: {where}, {NAMES.get(metric, metric)} by {result.level} was {d.b:.3f} after SimCLR "
        f"and {d.a:.3f} from random weights, a difference of {d.difference.value:+.3f}"
    )
    if np.isnan(d.difference.low):
        return f"{text} on {_tested(result)}."
    over = f"{_tested(result)} and {d.n_seeds} seeds" if d.n_seeds > 1 else f"{_tested(result)} of one seed"
    return (
        f"{text} (95 % interval {d.difference.low:+.3f} to {d.difference.high:+.3f}, over {over}; four of five such "
        f"studies would show a true difference of {d.detectable:.3f})."
    )


def opening_table(result: StudyResult, metric: Metric = "balanced_accuracy") -> tuple[list[str], list[list[str]]]:
    """Head and rows: label fractions down, starts across, and what the difference of the two starts allows to say."""
    head, rows = result.table(metric)
    found = dict(result.differences("random", "simclr", metric))
    head = [STARTS.get(name, name) for name in head]
    if not found:
        return head, rows
    for f, row in zip(result.fractions, rows, strict=True):
        row += [signed(found[f].difference), verdict(found[f])] if f in found else ["", ""]
    return [*head, "difference (95 % interval)", "pretraining"], rows


def verdict(difference: Difference) -> str:
    """What an interval of a difference allows to say about pretraining.

    It helped, or hurt, if the interval over subjects *and* seeds lies on one side of zero. Of one seed there is none.
    """
    low, high = difference.difference.low, difference.difference.high
    if np.isnan(low):
        return "too few subjects to tell"
    if low <= 0 <= high:
        return "not distinguishable from zero"
    if difference.n_seeds < 2:
        return f"{'ahead' if low > 0 else 'behind'} with this one seed; another was not tried"
    return "it helped" if low > 0 else "it hurt"


def _size(result: StudyResult) -> str:
    seeds = len({arm.seed for arm in result.evaluations})
    counts = [(len(result.inits), "start"), (len(result.fractions), "label fraction"), (seeds, "seed")]
    counts.append((len(result.splits), "split"))
    shape = " x ".join(f"{n} {what}{'' if n == 1 else 's'}" for n, what in counts)
    return f"{len(result.rows)} networks were trained ({shape}) and judged on {_tested(result)}."


def _tested(result: StudyResult) -> str:
    tested = np.unique(np.concatenate([split.indices["test"] for split in result.splits]))
    ds = result.split.dataset[tested]
    return f"{ds.n_subjects:,} subjects" if result.level == "subject" else f"{len(ds):,} images"


def _rates(result: StudyResult) -> str:
    if not result.trials:
        return ""
    rates = sorted({trial["lr"] for trial in result.trials})
    found: dict[str, set[float]] = {}
    for trial in result.trials:
        if trial["chosen"]:
            found.setdefault(trial["init"], set()).add(trial["lr"])
    kept = [f"{STARTS.get(name, name)} {_list([f'{lr:g}' for lr in sorted(lrs)])}" for name, lrs in found.items()]
    return (
        f"Every start tried the learning rates {_list([f'{lr:g}' for lr in rates])} alike, and what was best on "
        f"validation data was kept ({', '.join(kept)})."
    )


def _comparison(result: StudyResult, metric: Metric) -> list[str]:
    clauses, found = [], []
    for f, d in result.differences("random", "simclr", metric):
        ahead, pairs = result.wins("random", "simclr", f, metric)
        runs = f"; ahead in {ahead} of {pairs} runs" if pairs > 1 else ""
        clauses.append(
            f"{d.a:.3f} against {d.b:.3f} with {100 * f:g} % of the labels "
            f"({_signed(d.difference)}{runs}: {verdict(d)})"
        )
        found.append((f"{100 * f:g} %", d))
    name = NAMES.get(metric, metric)
    text = (
        f"The {name} by {result.level} from random weights, and after SimCLR (difference and its 95 % interval): "
        f"{'; '.join(clauses)}."
    )
    return [_overall(result, metric, found), text, _power(result, [d for _, d in found])]


def _overall(result: StudyResult, metric: Metric, found: list[tuple[str, Difference]]) -> str:
    """One sentence over all fractions: it is what n separate intervals cannot say."""
    said = {word: [name for name, d in found if verdict(d) == f"it {word}"] for word in ("helped", "hurt")}
    clauses = [f"{word} with {_list(names)}" for word, names in said.items() if names]
    if clauses:
        text = f"Pretraining {' and '.join(clauses)} of the labels"
    elif all(np.isnan(d.difference.low) for _, d in found):
        text = "There are too few test subjects to say whether pretraining helps"
    elif any("this one seed" in verdict(d) for _, d in found):
        text = "One seed cannot show whether pretraining helps or hurts"
    else:
        text = "No effect of pretraining was shown"
    mean = result.mean_difference("random", "simclr", metric) if len(found) > 1 else None
    if mean is not None:
        text += (
            f"; over all {len(found)} fractions together the difference is {_signed(mean.difference)}: {verdict(mean)}"
        )
    return f"{text}."


def _power(result: StudyResult, differences: list[Difference]) -> str:
    """What the intervals are over, and what they could have seen: without it "no difference" says nothing."""
    seen = [d.detectable for d in differences if not np.isnan(d.detectable)]
    if not seen:
        return ""
    seeds = min(d.n_seeds for d in differences)
    units = _tested(result)
    low, high = f"{min(seen):.3f}", f"{max(seen):.3f}"
    text = (
        f"The intervals are over {units} and {seeds} seeds"
        if seeds > 1
        else f"The intervals are over {units} of one seed"
    )
    text += f"; the smallest difference that they would show in four of five such studies is {low}"
    text += f" to {high}, by label fraction" if low != high else ""
    return text + (
        f". With several seeds ({option_text('seeds', 5)}) it could be said of pretraining, not of this run."
        if seeds == 1
        else "."
    )


def signed(e: Estimate) -> str:
    """A difference with its interval in brackets, or with why it has none."""
    return f"{e.value:+.3f} ({e.note or f'{e.low:+.3f} to {e.high:+.3f}'})"


def _signed(e: Estimate) -> str:
    return f"{e.value:+.3f}" if np.isnan(e.low) else f"{e.value:+.3f}, {e.low:+.3f} to {e.high:+.3f}"


def _level(result: StudyResult, metric: Metric) -> str:
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


def _spread(result: StudyResult, metric: Metric) -> str:
    found = [line[f"{metric}_sd"] for line in result.summary() if line[f"{metric}_sd"] is not None]
    if not found:
        return "Each arm was run once: what another seed or split would give is not known."
    low, high = (f"{value:.3f}" for value in (min(found), max(found)))
    what = low if low == high else f"{low} to {high}"
    return f"Runs of one arm differ by a standard deviation of {what}."


def leak(result: StudyResult) -> str:
    """What a split by image means for the scores; empty for one by subject."""
    if result.split.by == "subject":
        return ""
    return (
        "The split is by image, so other slices of the test subjects were in training: the scores say how well "
        "subjects are remembered, not how well the disease is recognised."
    )


def _labels(fraction: float) -> str:
    return f"with {100 * fraction:g} % of the labels"


def _list(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
