"""The sections of the configuration: what can be chosen, what it means and what it is by default.

Each command of the shell has a section, which is also a table of a TOML file and (for `pretrain` and `finetune`) the
constructor of an estimator. Defaults here are the recipe "default"; recipes/*.toml say what the others change.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from .._shared import (
    MAX_SEED,
    BenchRow,
    CamMethod,
    Intensities,
    Layer,
    Metric,
    OnError,
    Part,
    Plane,
    Precision,
    Resume,
    SubjectPool,
    Tracker,
)
from ._data_sections import DataOptions, ReadingOptions
from ._options import option, take_choices, threads_option
from ._training_sections import FinetuneOptions, PretrainOptions


@dataclass(repr=False, eq=False)
class EvaluateOptions:
    """How a classifier is judged.

    Examples
    --------
    >>> EvaluateOptions(on="val").n_bootstrap
    1000
    """

    on: Part | None = option(
        None,
        "part of the split, or all (none: test of the model's own data, all of another data set)",
        group="evaluation",
    )
    n_bootstrap: int = option(1000, "resamples of subjects for the intervals", group="evaluation", at_least=0)
    precision: Precision | None = option(
        None, "fp32 or bf16 activations (none: as the model was trained)", group="evaluation"
    )


@dataclass(repr=False, eq=False)
class PredictOptions:
    """Answers about new pictures."""

    out: str | None = option(
        None, "table to write, .csv or .parquet (none: answers_DATA.csv in the model's folder)", group="answers"
    )
    groups: str | None = option(
        None,
        "subjects: table.csv:column, or a regular expression with one group over file names",
        group="answers",
    )
    errors: OnError = option(
        "raise",
        "files that cannot be read: stop and name them, or warn and leave them out",
        group="answers",
    )
    precision: Precision | None = option(
        None, "fp32 or bf16 activations (none: as the model was trained)", group="answers"
    )


@dataclass(repr=False, eq=False)
class ExportOptions:
    """A model as a file for other programs."""

    out: str | None = option(
        None, "file to write, .onnx or .safetensors (none: model.onnx in the model's folder)", group="export"
    )
    rgb_stem: bool = option(False, "spread a one-channel stem over three channels (.safetensors)", group="export")
    opset: int = option(17, "version of ONNX's operators (.onnx)", group="export", at_least=13, at_most=21)


@dataclass(repr=False, eq=False)
class RunsOptions:
    """Which runs there are."""

    under: str = option("runs", "folder that is searched, with all folders below", group="runs")
    prune: bool = option(
        False,
        "free what finished runs keep only to train more epochs: optimizer state, weights that are not the best",
        group="runs",
    )
    yes: bool = option(False, "prune without asking", group="runs")


@dataclass(repr=False, eq=False)
class CompareOptions:
    """Runs side by side."""

    on: str = option(
        "test", "which evaluation: test, val, train, all, or the name of another data set", group="comparison"
    )
    metric: Metric = option("balanced_accuracy", "what is compared", group="comparison")
    n_bootstrap: int = option(2000, "resamples of subjects for the differences", group="comparison", at_least=1)
    out: str | None = option(
        None, "folder for compare.csv, compare.png and compare.html (none: nothing is written)", group="comparison"
    )


@dataclass(repr=False, eq=False)
class ExplainOptions:
    """Heat maps.

    Examples
    --------
    >>> as_dict(ExplainOptions(layer="layer3"))["method"]
    'gradcam'
    """

    on: Part | None = option(
        None,
        "part of the split, or all (none: test of the model's own data, all of another data set)",
        group="heat maps",
    )
    n_images: int = option(12, "how many images, spread over the classes", group="heat maps", at_least=1)
    layer: str | None = option(
        None,
        "stage that is explained, or several joined by +: layer2+layer3 (none: the last one of at least 4 x 4 places)",
        group="heat maps",
    )
    method: CamMethod = option("gradcam", "how activations and gradients are combined", group="heat maps")
    target: str | None = option(None, "class to explain (none: the predicted one)", group="heat maps")
    precision: Precision | None = option(
        None, "fp32 or bf16 activations (none: as the model was trained)", group="heat maps"
    )
    checks: int = option(
        24,
        "images on which the maps are checked: what they mark, new weights, regions (0: none)",
        group="heat maps",
        at_least=0,
    )


@dataclass(repr=False, eq=False)
class StudyOptions:
    """Starts x label fractions x seeds x splits.

    Examples
    --------
    >>> StudyOptions(label_fractions=(0.1, 1.0)).inits
    ('random', 'simclr')
    """

    inits: tuple[str, ...] = option(
        ("random", "simclr"), "starts to compare: random, simclr, or files with weights", group="study"
    )
    label_fractions: tuple[float, ...] = option(
        (0.01, 0.1, 0.2, 0.5, 1.0), "shares of the labels", group="study", at_least=0, at_most=1
    )
    seeds: int = option(1, "repetitions, with seeds 0, 1, ...", group="study", at_least=1)
    splits: int = option(
        1, "1 holds out one test set; more are folds, so that every subject is tested once", group="study", at_least=1
    )
    lrs: tuple[float, ...] | None = option(
        None,
        "fine-tuning rates that every start tries; the best on validation data is kept (none: --finetune.lr for all)",
        group="study",
        at_least=0,
    )
    n_bootstrap: int = option(1000, "resamples of subjects for the intervals", group="study", at_least=0)
    workers: str | None = option(
        None,
        "processes that train at a time: a number, or auto for as many as there are processors and memory for (none: "
        "one)",
        group="study",
    )
    dask: str | None = option(
        None,
        "address of a dask scheduler, such as tcp://node1:8786, whose workers train (none: this machine)",
        group="study",
    )


@dataclass(repr=False, eq=False)
class LabelCurveOptions:
    """Probes on frozen features, by number of labelled subjects."""

    starts: tuple[str, ...] = option(
        ("pixels", "random", "simclr"),
        "whose features: pixels, csf (CSF fraction, one number an image), random, simclr (pretrained in each fold), or "
        "runs and files with weights",
        group="label curve",
    )
    n_labelled: tuple[int, ...] | None = option(
        None,
        "labelled subjects of a draw (none: 4 8 16 40 80 ..., as far as they reach)",
        group="label curve",
        at_least=2,
    )
    draws: int = option(100, "draws of labelled subjects in each fold", group="label curve", at_least=1)
    repeats: int | None = option(
        None,
        "how often the subjects are dealt into folds anew (none: 10, or 1 if a start is pretrained)",
        group="label curve",
        at_least=1,
    )
    splits: int = option(5, "folds; every subject is tested once a repeat", group="label curve", at_least=2)
    slices: int | None = option(
        None, "use only slices up to this number, for speed (none: all)", group="label curve", at_least=1
    )
    layer: tuple[Layer, ...] = option(
        ("layer4",), "stage of the network that is read, or several to compare", group="features"
    )
    grid: int = option(
        1, "average features over this many regions a side: 2 keeps quarters apart", group="features", at_least=1
    )
    pool: tuple[SubjectPool, ...] = option(
        ("mean",),
        "a subject's features: the mean over its slices, its slices side by side, or both to compare",
        group="features",
    )
    intensities: tuple[Intensities, ...] = option(
        ("as_is",),
        "pixels as they are, each subject's shifted and scaled to one mean and deviation, or both to compare",
        group="features",
    )


@dataclass(repr=False, eq=False)
class DemoOptions:
    """The whole experiment on phantoms.

    Examples
    --------
    >>> DemoOptions(n_subjects=100).image_size
    48
    """

    n_subjects: int = option(560, "phantom subjects; four of five are judged on", group="demo", at_least=20)
    slices: int = option(3, "slices a subject", group="demo", at_least=1)
    image_size: int = option(48, "pixels a side", group="demo", at_least=32)
    seed: int = option(0, "seed of the phantoms", group="demo", at_least=0, at_most=MAX_SEED)


@dataclass(repr=False, eq=False)
class AuditOptions(ReadingOptions):
    """What is wrong with a data set, and what a score on it would mean.

    Examples
    --------
    >>> AuditOptions(path="Dataset/", baselines=False).seed
    0
    """

    baselines: bool = option(True, "score trivial classifiers under both splits", group="audit")
    seed: int = option(0, "seed of the folds", group="audit", at_least=0, at_most=MAX_SEED)


@dataclass(repr=False, eq=False)
class SlicesOptions(ReadingOptions):
    """How volumes are cut into slices.

    Examples
    --------
    >>> SlicesOptions(plane="coronal").every
    2
    """

    plane: Plane = option("axial", "how they are cut", group="slices")
    every: int = option(2, "take every so many-th slice", group="slices", at_least=1)
    range: tuple[float, ...] | None = option(
        None,
        "two shares of the volume, such as 0.3 0.7, or the first and last slice (none: where the head is)",
        group="slices",
        at_least=0,
    )
    out: str | None = option(None, "folder for the slices (none: DATA_slices)", group="slices")


@dataclass(repr=False, eq=False)
class BenchOptions:
    """Speed of this machine.

    Examples
    --------
    >>> BenchOptions(rows=("inference",)).precision
    ('fp32',)
    """

    rows: tuple[BenchRow, ...] = option(
        ("supervised", "simclr", "inference", "resnet18"),
        "what to measure",
        group="bench",
    )
    precision: tuple[Precision, ...] = option(
        ("fp32",),
        "what activations are stored and multiplied in: fp32, bf16 or both",
        group="bench",
    )
    rounds: int = option(5, "steps of each; the median counts", group="bench", at_least=1)
    layers: bool = option(False, "a table of every convolution, in its three directions", group="bench")
    n_jobs: int | None = threads_option("bench")
    peer: bool = option(False, "PyTorch's configurations beside it (needs: pip install torch)", group="bench")


@dataclass(repr=False, eq=False)
class RunOptions:
    """Where results go.

    Examples
    --------
    >>> as_dict(RunOptions(out="runs/ssl"))
    {'out': 'runs/ssl', 'resume': 'auto'}
    """

    out: str | None = option(None, "folder for what the command makes (none: named after the command)", group="run")
    resume: Resume = option(
        "auto",
        "auto continues an unfinished run in that folder, never starts over",
        group="run",
    )


@dataclass(repr=False, eq=False)
class TrackOptions:
    """Who else is told how training goes."""

    track: tuple[Tracker, ...] | None = option(
        None, "show the run in TensorBoard, MLflow or Weights & Biases (offline)", group="tracking"
    )
    track_to: str | None = option(
        None,
        "where that is kept: a folder, or for MLflow a server (none: in --out; MLflow: MLFLOW_TRACKING_URI or its own "
        "choice)",
        group="tracking",
    )


# What the demo chooses before any option: few subjects to learn from, and so many to be judged on that intervals are
# less than 0.1 wide. Of two classes of about equal size, as the rarest of more would decide how wide. One seed: an
# interval over two or three seeds as well is several times as wide, as so few say little of how seeds differ.
DEMO_CHOICES: dict[str, dict[str, Any]] = {
    "data": {"task": "cdr0", "split": (0.15, 0.05, 0.8)},
    "study": {"label_fractions": (0.1, 0.3, 1.0)},
}


SECTIONS: dict[str, type] = {
    "data": DataOptions,
    "pretrain": PretrainOptions,
    "finetune": FinetuneOptions,
    "evaluate": EvaluateOptions,
    "predict": PredictOptions,
    "export": ExportOptions,
    "runs": RunsOptions,
    "compare": CompareOptions,
    "explain": ExplainOptions,
    "study": StudyOptions,
    "label_curve": LabelCurveOptions,
    "demo": DemoOptions,
    "audit": AuditOptions,
    "slices": SlicesOptions,
    "bench": BenchOptions,
    "run": RunOptions,
    "track": TrackOptions,
}


def as_dict(section: Any) -> dict[str, Any]:
    """The options of a section as plain values, ready for JSON.

    Examples
    --------
    >>> as_dict(EvaluateOptions(on="test"))
    {'on': 'test', 'n_bootstrap': 1000, 'precision': None}
    """
    return {field.name: getattr(section, field.name) for field in fields(section) if "help" in field.metadata}


for _section in SECTIONS.values():
    take_choices(_section)
