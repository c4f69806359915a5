"""A model card and two checklists for journals, filled in as far as a run knows; what only the author knows stays open.

References
----------
Mitchell et al., Model cards for model reporting, FAT* 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._shared import NOT_A_DEVICE, Record, Report, atomic_writer
from ..learning import Classifier, SimCLR
from ..metrics import Evaluation
from ._card_facts import CardFacts, facts_of_folder, facts_of_model, facts_of_study
from ._checklists import CHECKLISTS
from ._result import StudyResult

if TYPE_CHECKING:
    from os import PathLike

OPEN = "open: for the author"
INTENDED = (
    "Research on how few labels suffice, and on the method. Not for diagnosis, for decisions about people, or for "
    "images of other scanners, sequences or populations than it was tested on."
)
_TRAINING = (
    "arch", "epochs", "min_steps", "batch_size", "optimizer", "lr", "weight_decay", "schedule", "sharpness", "views",
    "temperature", "positives", "class_weight", "sampling", "label_smoothing", "freeze",
    "layer_decay", "layer_rates", "dropout", "precision", "random_state",
)  # fmt: skip


@dataclass
class ModelCard(Record):
    """A model card and checklists; shows itself in a notebook.

    Attributes
    ----------
    title : str
    facts : dict of str to str
        The card: what is known under each heading.
    tables : dict of str to (head, rows)
    answers : dict of str to str
        What the run answers of the checklists.

    Examples
    --------
    >>> card = model_card(result)  # doctest: +SKIP
    >>> card.write("model_card.md")  # doctest: +SKIP
    """

    title: str
    facts: dict[str, str]
    tables: dict[str, tuple[Sequence[str], Sequence[Sequence[Any]]]] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)

    def checklist(self, name: str) -> list[tuple[str, str, str]]:
        """Number, item and answer of each item of "CLAIM 2024" or "TRIPOD+AI"; the author's are open."""
        return [(number, what, self.answers.get(key) or OPEN) for number, what, key in CHECKLISTS[name]]

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary an item of the checklists: checklist, item, what is asked, answer."""
        return [
            {"checklist": name, "item": number, "asked": what, "answer": answer}
            for name in CHECKLISTS
            for number, what, answer in self.checklist(name)
        ]

    def still_open(self, name: str) -> list[str]:
        """Numbers of the items that only the author can answer."""
        return [number for number, _, answer in self.checklist(name) if answer == OPEN]

    def to_markdown(self) -> str:
        parts = [f"# Model card: {self.title}", NOT_A_DEVICE]
        for name, text in self.facts.items():
            parts += [f"## {name}", text]
            if name in self.tables:
                parts.append(_markdown(*self.tables[name]))
        for name in CHECKLISTS:
            parts += [f"## {name}", self._summary(name), _markdown(_HEAD, self.checklist(name))]
        return "\n\n".join(parts) + "\n"

    def write(self, path: str | PathLike[str]) -> Path:
        """Write the card as Markdown, whole or not at all; into a folder, as model_card.md."""
        path = Path(path).expanduser()
        path = path / "model_card.md" if path.is_dir() else path
        with atomic_writer(path) as file:
            file.write(self.to_markdown().encode())
        return path

    def add_to(self, report: Report) -> Report:
        """Two sections of a report: the card, and the checklists behind a click."""
        report.section("Model card")
        report.table(["", ""], list(self.facts.items()), "What the networks are, and what they are for.")
        report.section("Checklists for a journal")
        for name in CHECKLISTS:
            report.text(self._summary(name))
            report.folded_table(f"{name}, item by item", _HEAD, self.checklist(name))
        return report

    def _summary(self, name: str) -> str:
        rest, n = self.still_open(name), len(CHECKLISTS[name])
        return f"{name}: the run answers {n - len(rest)} of {n} items. Left to the author are items {', '.join(rest)}."

    def __repr__(self) -> str:
        return f"<ModelCard: {self.title}>"

    def __str__(self) -> str:
        return self.to_markdown()

    def _repr_html_(self) -> str:
        report = self.add_to(Report(self.title))
        return report._repr_html_()


_HEAD = ("item", "what is asked", "answer")


def model_card(
    of: StudyResult | Classifier | SimCLR | str | PathLike[str], *, evaluation: Evaluation | None = None
) -> ModelCard:
    """A model card, with the CLAIM 2024 and TRIPOD+AI checklists as far as a run can fill them in.

    Parameters
    ----------
    of : StudyResult, fitted Classifier or SimCLR, or path
        A path is the folder of a run of one network; a study writes its card itself, as model_card.md.
    evaluation : Evaluation, optional
        The performance of a fitted classifier. That of a run's folder is read from it.

    Returns
    -------
    ModelCard

    Raises
    ------
    FileNotFoundError, ValueError
        The folder is not that of one run.

    Examples
    --------
    >>> from simclr_mri import Classifier, datasets
    >>> ds = datasets.phantoms(n_subjects=8, slices=1, image_size=32, task="cdr0")
    >>> clf = Classifier(arch="resnet18", epochs=0, batch_size=4, verbose=0).fit(ds)
    >>> card = model_card(clf, evaluation=clf.evaluate(ds, n_bootstrap=0))
    >>> card.answers["output"]
    'probabilities of CDR_0, CDR_above_0; the most probable class is the answer, no threshold was chosen'
    """
    if isinstance(of, StudyResult):
        facts = facts_of_study(of)
    elif isinstance(of, (Classifier, SimCLR)):
        facts = facts_of_model(of, evaluation)
    elif isinstance(of, (str, Path)):
        facts = facts_of_folder(Path(of).expanduser())
    else:
        raise TypeError(
            f"model_card: expected a StudyResult, a fitted model or a run's folder, got {type(of).__name__}"
        )
    tables: dict[str, tuple[Sequence[str], Sequence[Sequence[Any]]]] = {}
    if facts.scores[1]:
        tables["Performance"] = facts.scores
    if facts.sets:
        keys = list(facts.sets[0])
        tables["Data"] = (keys, [[row[key] for key in keys] for row in facts.sets])
    return ModelCard(facts.title, _card(facts), tables, {k: v for k, v in _answers(facts).items() if v})


def _card(f: CardFacts) -> dict[str, str]:
    """The headings of a card, with what is known."""
    answers = _answers(f)
    found = {
        "Model": f"{f.what}: {answers['model']}.",
        "Intended use": INTENDED,
        "Data": _sentence(_data(f), answers["split"]),
        "Leaks looked for": _sentence("; ".join(f.leaks)) or "none by this run: an audit looks for them",
        "Training": _sentence(answers["training"], answers["start"]),
        "Performance": _sentence(f.conclusion or answers["metrics"], answers["intervals"]),
        "Calibration": _sentence("; ".join(f.calibration)) or "not measured",
        "Explanations": _sentence(f.heat) or "not checked",
        "Limits": _limits(f),
        "Software": answers["software"],
    }
    return {name: text for name, text in found.items() if text}


def _limits(f: CardFacts) -> str:
    parts = ["It was not tested on data of another source"]
    if f.by_subject is False:
        parts.append("the split is by image, so scores say how well subjects are remembered")
    if f.by_subject is None:
        parts.append("how the data were split is not known to this run")
    return _sentence(
        "; ".join([*parts, f.power]).rstrip("; "), "Differences between groups of people were not examined"
    )


def _answers(f: CardFacts) -> dict[str, str]:
    """What the checklists ask and the run knows; "" where it does not."""
    size = f.network.get("image_size", "")
    tested = f.scores[1]
    unit = {True: "subject", False: "image", None: ""}[f.by_subject]
    included = "; ".join(_included(f))
    is_scaled = (f.finetune or f.pretrain).get("normalize", True)
    scaled = ", less the mean and over the deviation of the training images" if is_scaled else ""
    return {
        "goal": f"development and internal evaluation: {f.what}",
        "preprocessing": f"images of {size} x {size} pixels{scaled}",
        "predictors": "the pixels of a slice; nothing else enters",
        "split": f.split,
        "disjoint": f"{unit}s; {'; '.join(f.leaks[:2])}".rstrip("; ") if unit else "",
        "model": f"{f.network.get('arch', '')}, input {size} x {size}, output "
        f"{len(f.classes) or 'features, no'} classes",
        "software": ", ".join(f"{name} {f.versions[name]}" for name in _SOFTWARE if name in f.versions),
        "start": _start(f),
        "training": "; ".join(_parameters(name, p) for name, p in _phases(f) if p),
        "selection": _selection(f),
        "ensemble": "none: each network answers by itself, and a subject by the mean over its slices",
        "metrics": "accuracy, balanced accuracy, macro F1, area under the curve, kappa, Brier score, calibration error"
        if tested
        else "",
        "intervals": f"95 % intervals by {f.n_bootstrap:,} bootstrap samples of the {f.resampled}, within each class"
        if tested and f.n_bootstrap
        else "",
        "robustness": f"{f.n_models} networks: several starts, label fractions, seeds or splits"
        if f.n_models > 1
        else "",
        "explanations": f.heat and f"Grad-CAM, checked by removal of pixels and by new weights: {f.heat}",
        "internal": f"on a test set of the same source, {f.split}" if tested and f.split else "",
        "external": "not done" if tested else "",
        "included": included,
        "performance": f.conclusion or ("see the table of performance" if tested else ""),
        "diagnostic": "; ".join(f"{row[0]}: {row[-1]}" for row in tested[:2]),
        "failures": "confusion matrices and curves are in the report" if f.n_models > 1 else "",
        "protocol": "options, versions, seeds and fingerprints are in manifest.json, weights in checkpoint.safetensors",
        "same_source": "one source, split at random" if f.split else "",
        "updating": "none: the networks were not updated",
        "power": f.power,
        "predictions": "softmax of the network's outputs by slice; of a subject the mean over its slices",
        "imbalance": f"class weights: {f.finetune['class_weight']}" if f.finetune.get("class_weight") else "",
        "output": f"probabilities of {', '.join(f.classes)}; the most probable class is the answer, no threshold was "
        "chosen"
        if f.classes
        else "",
    }


_SOFTWARE = ("simclr_mri", "python", "numpy", "scipy", "scikit-learn", "cpu", "isa")


def _phases(f: CardFacts) -> list[tuple[str, dict[str, Any]]]:
    return [("SimCLR pretraining", f.pretrain), ("fine-tuning", f.finetune)]


def _parameters(name: str, parameters: dict[str, Any]) -> str:
    none = (None, "", 0, 0.0, "none")
    shown = [f"{key} {parameters[key]}" for key in _TRAINING if parameters.get(key) not in none]
    shown = [text for text in shown if text != "layer_decay 1.0"]
    return f"{name}: {', '.join(shown)}"


def _start(f: CardFacts) -> str:
    if f.n_models > 1:
        return "random weights, and SimCLR's of the same training images" if f.pretrain else "random weights"
    init = f.finetune.get("init")
    return f"initial weights: {init}" if init else ("random weights" if f.pretrain else "")


def _selection(f: CardFacts) -> str:
    if not f.finetune.get("select"):
        return ""
    return f"best epoch by {str(f.finetune['select']).replace('_', ' ')} on {f.finetune.get('select_on', 'val')} data"


def _data(f: CardFacts) -> str:
    n, who = f.data.get("n_images"), f.data.get("n_subjects")
    size = f"{n:,} images" if n else ""
    size += f" of {who:,} subjects" if who else ""
    print_ = f"fingerprint {str(f.data['fingerprint'])[:16]}" if f.data.get("fingerprint") else ""
    return ", ".join(filter(None, [str(f.data.get("name", "")), size, print_]))


def _included(f: CardFacts) -> list[str]:
    return [
        f"{row['set']}, {row['class']}: {row['images']:,} images"
        + (f" of {row['subjects']:,} subjects" if row.get("subjects") else "")
        for row in f.sets
    ]


def _sentence(*parts: str) -> str:
    """Parts as sentences; empty ones are left out."""
    return " ".join(f"{part[0].upper()}{part[1:].rstrip('.')}." for part in parts if part)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
