"""Where the modules of version 0.1 went: old paths work for one more version, and warn with the new one.

`import simclr_mri.checkpoint` and `from simclr_mri.cam import METHODS` find a module that forwards; so do pickles that
name the old places of their classes.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from importlib.abc import Loader
from importlib.machinery import ModuleSpec

TYPE_CHECKING = False  # as typing's, which takes its time
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import Any

ROOT = "simclr_mri"

# Old module: the modules that hold what was in it. Those with an underscore are for pickles, and do not warn.
MOVED = {
    "_baselines": "audits._baselines",
    "_bootstrap": "metrics._bootstrap",
    "_dataset": "datasets._classes datasets._dataset datasets._require datasets._concatenate datasets._warnings",
    "_estimator": "learning._estimator learning._task",
    "_groups": "audits._subjects",
    "_overlap": "splits._overlap",
    "audit_page": "audits._page",
    "audits": "audits._record audits._audit",
    "bench": "bench._measure bench._peer",
    "bench_plot": "plot._speed",
    "cam": "explain._result explain._cam _shared._text",
    "cam_checks": "explain._checks explain._removal explain._randomised datasets._head",
    "checkpoint": "learning._checkpoint weights._errors weights._safetensors weights._resnet _shared._files",
    "classifier": "learning._classifier learning._classifier_task learning._judging metrics._evaluate "
    "datasets._require splits._fractions",
    "cli": "cli._main cli._table cli._parser cli._settings",
    "commands": "cli._common",
    "conclusions": "studies._conclusions",
    "config": "config._sections config._data_sections config._training_sections _shared._names",
    "crossval": "learning._crossval",
    "datasets": "datasets._image_folder datasets._alzheimer datasets._open",
    "looks": "studies._looks",
    "metrics": "metrics._records metrics._evaluate",
    "monitor": "learning._monitor",
    "options": "config._options cli._arguments _shared._text",
    "pairs": "views._pairs",
    "phantoms": "datasets._phantoms._generate",
    "plot": "plot._style plot._scores plot._heat",
    "pooling": "metrics._pooling",
    "probe": "learning._probe",
    "progress": "_shared._progress _shared._text _shared._notebook",
    "report": "_shared._report _shared._html",
    "runlog": "learning._history learning._runlog _shared._html _shared._files _shared._machine",
    "schedules": "learning._schedule",
    "simclr": "learning._simclr learning._simclr_task",
    "splits": "splits._split splits._kfold splits._fractions splits._overlap",
    "studies": "studies._study studies._run studies._arm studies._result datasets._examples learning._predictions",
    "study_page": "studies._page",
    "study_plan": "studies._plan",
    "study_plots": "studies._plots",
    "study_rates": "studies._rates",
    "study_result": "studies._result studies._arm",
    "training": "learning._loop learning._position learning._order learning._interrupts",
    "views": "views._batches",
    "weights": "weights._errors weights._read weights._export weights._torch_pickle weights._torch_values",
}
RENAMED = {
    "checkpoint.FILE_NAME": "CHECKPOINT_FILE",
    "checkpoint.FORMAT": "CHECKPOINT_FORMAT",
    "checkpoint.load": "read_checkpoint",
    "checkpoint.save": "write_checkpoint",
    "looks.FILE_NAME": "LOOKS_FILE",
}


def forward(package: str, name: str) -> tuple[Any] | None:
    """(the value,) of what stood at `package`.`name` in version 0.1; None for what did not.

    A module of that version comes with its own `__getattr__`; anything else warns here.
    """
    root, _, old = package.partition(".")
    if root != ROOT or name.startswith("__"):
        return None
    if not old:
        return (importlib.import_module(f"{ROOT}.{name}"),) if name in MOVED else None
    new = RENAMED.get(f"{old}.{name}", name)
    for place in MOVED.get(old, "").split():
        module = importlib.import_module(f"{ROOT}.{place}")
        if new in vars(module):
            if not old.startswith("_"):
                _warn(old, name, place.partition(".")[0], new)
            return (vars(module)[new],)
    return None


def _warn(old: str, name: str, package: str, new: str) -> None:
    public = (ROOT, f"{ROOT}.{package}")
    doors = [door for door in public if new in importlib.import_module(door).__all__]
    where = f"import {new} from {doors[0]}" if doors else "it is internal now"
    warnings.warn(
        f"{ROOT}.{old}.{name} has moved: {where}. The old path goes with the next version",
        DeprecationWarning,
        stacklevel=4,
    )


class OldModules(Loader):
    """Finds the modules of version 0.1 where no module of this one has the name."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        root, _, old = name.rpartition(".")
        return ModuleSpec(name, OldModules()) if root == ROOT and old in MOVED else None

    def create_module(self, spec: ModuleSpec) -> None:
        """The usual kind."""

    def exec_module(self, module: ModuleType) -> None:
        def getattr_(name: str) -> Any:
            found = forward(module.__name__, name)
            if found is None:
                raise AttributeError(f"{module.__name__} has no '{name}'")
            return found[0]

        module.__doc__ = "Forwards to where its contents went; see simclr_mri._shared._moved."
        vars(module)["__getattr__"] = getattr_


def install() -> None:
    """Old paths work from here on."""
    if not any(isinstance(finder, OldModules) for finder in sys.meta_path):
        sys.meta_path.append(OldModules())
