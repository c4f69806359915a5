"""Judges a run once: its predictions and checks are kept, and read again while model and test set are the same."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._shared import atomic_writer, write_json
from ..datasets import Dataset, labels_of
from ..explain import CamChecks, check_cams, load_checks, save_checks
from ..learning import Classifier, checkpoint_path, predictions_csv, read_predictions
from ..metrics import Evaluation, evaluate_predictions
from ..weights import safetensors_metadata
from ._fold import N_EXAMPLES
from ._looks import model_digest


@dataclass(eq=False)
class RunJudge:
    """What a trained classifier says about its test set, computed once and kept beside it.

    The results carry the names of the weights and of the test set that they belong to: a repeated study reads them
    instead of looking again, unless one of the two has changed.
    """

    clf: Classifier
    test: Dataset
    folder: Path
    reuse: bool

    def __post_init__(self) -> None:
        # Of the tensors alone: the header has times, which differ where a run was stopped and went on to the same bits.
        tensors = safetensors_metadata(checkpoint_path(self.folder)).get("digests", "")
        self.checkpoint = hashlib.sha256(tensors.encode()).hexdigest()[:16] if tensors else ""
        self.kept = self._read_report() if self.reuse else {}
        # The checkpoint was checked against its digest when it was read, so the weights are those of the report.
        is_same = bool(self.checkpoint) and self.kept.get("checkpoint") == self.checkpoint
        model = self.kept["of"]["model"] if is_same else model_digest(self.clf)
        self.of = {"model": model, "test_set": self.test.fingerprint()[:16]}

    def evaluation(self, n_bootstrap: int, before: Any) -> Evaluation:
        """`before` is called just before the test set is looked at."""
        predictions, report = self.folder / "test_predictions.csv", self.folder / "evaluation.json"
        if self.kept.get("of") != self.of:
            before()
            text = predictions_csv(self.test, self.clf.predict_proba(self.test))
            with atomic_writer(predictions) as file:
                file.write(text.encode("utf-8", "surrogateescape"))
        # The first time too from what is in the file: a repeated study must come to the same figures.
        probabilities = read_predictions(predictions)
        found = evaluate_predictions(
            labels_of(self.test), probabilities, self.test.classes, subjects=self.test.subjects, n_bootstrap=n_bootstrap
        )
        write_json(report, {"of": self.of, "checkpoint": self.checkpoint, **found.to_dict()})
        return found

    def checks(self, layer: str) -> CamChecks:
        options: dict[str, Any] = {"layer": layer, "n_images": 2 * N_EXAMPLES}
        path, of = self.folder / "heat_map_checks.npz", {**self.of, **options}
        kept = load_checks(path, of) if self.reuse else None
        if kept is None:
            kept = check_cams(self.clf, self.test, **options)
            save_checks(path, kept, of)
        return kept

    def _read_report(self) -> dict[str, Any]:
        """The evaluation that is there; of which weights and test set it is, it says itself."""
        path = self.folder / "evaluation.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
