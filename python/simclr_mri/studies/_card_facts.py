"""What a model card can say by itself: gathered from a study, a fitted model or the folder of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._shared import counted
from .._shared import versions as this_version
from ..learning import Classifier, SimCLR
from ..metrics import NAMES, Evaluation
from ._conclusions import STARTS, headline
from ._looks import read_looks

if TYPE_CHECKING:
    from ._result import StudyResult

EVALUATIONS = ("evaluation_test/evaluation.json", "evaluation.json")


@dataclass
class CardFacts:
    """What is known; empty where it is not.

    Attributes
    ----------
    title, what : str
    network, data, pretrain, finetune, versions : dict
    classes : tuple of str
    sets : list of dict
        set, class, images, subjects: as of `Split.rows`, of the first split.
    split : str
        How the sets were made.
    leaks : list of str
        What was looked for, and what was found.
    scores : (list of str, list of list of str)
        Head and rows of the table of performance.
    calibration : list of str
    conclusion, power, heat, looks : str
    n_models, n_bootstrap : int
    resampled : str
        "subjects" or "images".
    """

    title: str
    what: str
    network: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    pretrain: dict[str, Any] = field(default_factory=dict)
    finetune: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    sets: list[dict[str, Any]] = field(default_factory=list)
    split: str = ""
    by_subject: bool | None = None
    leaks: list[str] = field(default_factory=list)
    scores: tuple[list[str], list[list[str]]] = field(default_factory=lambda: ([], []))
    calibration: list[str] = field(default_factory=list)
    conclusion: str = ""
    power: str = ""
    heat: str = ""
    looks: str = ""
    n_models: int = 1
    n_bootstrap: int = 0
    resampled: str = "subjects"


def facts_of_study(result: StudyResult) -> CardFacts:
    ds, split, manifest = result.split.dataset, result.split, result.facts.get("manifest", {})
    several = len(result.splits)
    how = f"{several} folds by {split.by}" if several > 1 else f"one split by {split.by}"
    evaluations = list(result.evaluations.values())
    powers = [d.detectable for _, d in result.differences("random", "simclr") if np.isfinite(d.detectable)]
    calibration = [
        f"{STARTS.get(name, Path(name).name)}: Brier score {estimate}"
        for name in result.inits
        if (found := result.runs(name, max(result.fractions)))
        for estimate in [result.evaluations[found[0]].levels[result.level]["brier"]]
    ]
    return CardFacts(
        title=f"Study of {ds.name}",
        what=f"{counted(len(result.rows), 'network')} trained to compare initial weights when labels are few",
        network={"arch": manifest.get("finetune", {}).get("arch", ""), "image_size": ds.image_size},
        data={"name": ds.name, "n_images": len(ds), "n_subjects": ds.n_subjects, "fingerprint": ds.fingerprint()},
        pretrain=manifest.get("pretrain", {}) if result.pretraining else {},
        finetune=manifest.get("finetune", {}),
        versions=manifest.get("versions", this_version()),
        classes=tuple(ds.classes),
        sets=split.rows(),
        split=f"{how}, seed {split.seed}",
        by_subject=split.by == "subject",
        leaks=_leaks(result),
        scores=result.table(),
        calibration=calibration,
        conclusion=headline(result),
        power=f"a true difference of {max(powers):.3f} would be shown in four of five such studies" if powers else "",
        heat="; ".join(f"{STARTS.get(a.init, a.init)}: {found.verdict}" for a, found in result.checks.items()),
        looks=f"{counted(len(result.looks), 'line')} in the test-set access log, for {len(result.rows):,} networks",
        n_models=len(result.rows),
        n_bootstrap=result.n_bootstrap,
        resampled=evaluations[0].resampled if evaluations else "subjects",
    )


def _leaks(result: StudyResult) -> list[str]:
    """Subjects and pictures that training and test share, over all splits."""
    ds, subjects, pictures = result.split.dataset, 0, 0
    keys, is_flat = ds.image_keys()
    for split in result.splits:
        train, test = split.indices["train"], split.indices["test"]
        pictures += int((np.isin(keys[test], keys[train]) & ~is_flat[test]).sum())
        if ds.subjects is not None:
            subjects += len(np.intersect1d(ds.subjects[train], ds.subjects[test]))
    who = "subjects are unknown" if ds.subjects is None else f"{subjects:,} subjects are in training and in test"
    return [who, f"{pictures:,} test images have the pixels of a training image", "edited copies: see the audit"]


def facts_of_model(model: Classifier | SimCLR, evaluation: Evaluation | None) -> CardFacts:
    model.check_fitted()
    kind = "classifier" if isinstance(model, Classifier) else "SimCLR encoder"
    facts = CardFacts(
        title=f"{model.arch} {kind}",
        what=f"a {kind}, as it was fitted",
        network=dict(model.model_.config),
        data=dict(model.model_.data),
        versions=this_version(),
        classes=tuple(model.model_.classes),
    )
    parameters = model.get_params(deep=False)
    plain = {k: v if isinstance(v, (int, float, str, type(None))) else type(v).__name__ for k, v in parameters.items()}
    return _with_parameters(facts, kind == "classifier", plain, evaluation.to_dict() if evaluation else None)


def facts_of_folder(folder: Path) -> CardFacts:
    """Of a run: its manifest, and its evaluation where there is one."""
    place = folder / "manifest.json"
    if not place.is_file():
        raise FileNotFoundError(
            f"model_card: {folder} has no manifest.json. Give the folder of a finished run, a fitted model or a "
            "StudyResult"
        )
    manifest = json.loads(place.read_text(encoding="utf-8"))
    if manifest.get("kind") == "study":
        raise ValueError(
            f"model_card: {folder} is a study's. Its card is {folder / 'model_card.md'}; for that of one network give "
            f"its folder, such as {folder / 'random' / '100pct_seed0'}"
        )
    is_classifier = manifest.get("kind") == "classifier"
    facts = CardFacts(
        title=f"{manifest.get('network', {}).get('arch', 'network')}, {folder.name}",
        what="a classifier" if is_classifier else "an encoder, pretrained without labels",
        network=manifest.get("network", {}),
        data=manifest.get("data", {}),
        versions=manifest.get("versions", {}),
    )
    there = next((folder / name for name in EVALUATIONS if (folder / name).is_file()), None)
    scores = json.loads(there.read_text(encoding="utf-8")) if there else None
    looks = read_looks(folder)
    facts.looks = f"{counted(len(looks), 'line')} in the test-set access log" if looks else ""
    return _with_parameters(facts, is_classifier, manifest.get("parameters", {}), scores)


def _with_parameters(
    facts: CardFacts, is_classifier: bool, parameters: dict[str, Any], scores: Mapping[str, Any] | None
) -> CardFacts:
    """Adds how it was trained, and the performance of an evaluation as `Evaluation.to_dict` gives it."""
    if is_classifier:
        facts.finetune = parameters
    else:
        facts.pretrain = parameters
    by = facts.data.get("by")
    if by:
        facts.split, facts.by_subject = f"one split by {by}, seed {facts.data.get('split_seed')}", by == "subject"
    if scores is not None:
        levels = [name for name in ("subject", "slice") if name in scores]
        facts.classes = tuple(scores["classes"])
        facts.n_bootstrap, facts.resampled = scores["n_bootstrap"], scores["resampled"]
        rows = [[NAMES[m], *(_cell(scores[name]["metrics"][m]) for name in levels)] for m in NAMES]
        facts.scores = (["metric", *(f"by {name} (n = {scores[name]['n']:,})" for name in levels)], rows)
        facts.calibration = [f"{row[0]} {row[1]}" for row in rows if row[0] in (NAMES["brier"], NAMES["ece"])]
    return facts


def _cell(e: Mapping[str, Any]) -> str:
    if e.get("value") is None:
        return "-"
    if e.get("low") is None:
        return f"{e['value']:.3f}" + (f" ({e['note']})" if e.get("note") else "")
    return f"{e['value']:.3f} ({e['low']:.3f} to {e['high']:.3f})"
