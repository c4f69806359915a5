"""SimCLR pretraining, fine-tuning and Grad-CAM for brain MRI slices, on a CPU.

>>> import simclr_mri as sm
>>> ds = sm.datasets.phantoms(seed=0, n_subjects=20, slices=2, image_size=32)
>>> train, val, test = sm.split(ds, by="subject", seed=42)  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import datasets, metrics, plot, splits
    from ._dataset import Dataset
    from .audits import Audit, audit
    from .cam import CamResult, grad_cam
    from .cam_checks import CamChecks, check_cams
    from .checkpoint import CheckpointError
    from .classifier import Classifier
    from .crossval import cross_val_proba
    from .demo import run_demo
    from .metrics import evaluate_predictions
    from .probe import LinearProbe
    from .report import Report
    from .runlog import History
    from .simclr import SimCLR
    from .splits import Split, label_fractions, split
    from .studies import StudyResult, study
    from .study_page import study_report
    from .training import TrainingInterrupted
    from .weights import export_weights, read_weights

# A function and a module of one name would hide each other, so `study` lives in studies.py.
# Loaded when they are first used: `import simclr_mri` stays fast, though scikit-learn and matplotlib are not.
_MODULES = ("datasets", "metrics", "plot", "splits")
_HOMES = {
    "Audit": "audits",
    "audit": "audits",
    "Dataset": "_dataset",
    "CamChecks": "cam_checks",
    "CamResult": "cam",
    "check_cams": "cam_checks",
    "grad_cam": "cam",
    "CheckpointError": "checkpoint",
    "Classifier": "classifier",
    "cross_val_proba": "crossval",
    "run_demo": "demo",
    "evaluate_predictions": "metrics",
    "LinearProbe": "probe",
    "Report": "report",
    "History": "runlog",
    "SimCLR": "simclr",
    "Split": "splits",
    "label_fractions": "splits",
    "split": "splits",
    "StudyResult": "studies",
    "study": "studies",
    "study_report": "study_page",
    "TrainingInterrupted": "training",
    "export_weights": "weights",
    "read_weights": "weights",
}

__all__ = [
    "Audit",
    "CamChecks",
    "CamResult",
    "CheckpointError",
    "Classifier",
    "Dataset",
    "History",
    "LinearProbe",
    "Report",
    "SimCLR",
    "Split",
    "StudyResult",
    "TrainingInterrupted",
    "__version__",
    "audit",
    "check_cams",
    "cross_val_proba",
    "datasets",
    "evaluate_predictions",
    "export_weights",
    "grad_cam",
    "label_fractions",
    "metrics",
    "plot",
    "read_weights",
    "run_demo",
    "show_versions",
    "split",
    "splits",
    "study",
    "study_report",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name in _HOMES:
        value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
        globals()[name] = value
        return value
    from .options import did_you_mean

    raise AttributeError(f"simclr_mri has no '{name}'.{did_you_mean(name, __all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)


def show_versions() -> None:
    """Print versions, processor, instruction set in use, BLAS, codecs and threads: for bug reports.

    Examples
    --------
    >>> show_versions()  # doctest: +ELLIPSIS
        simclr_mri  ...
    """
    from .runlog import versions

    for key, value in versions().items():
        print(f"{key:>14}  {value}")
