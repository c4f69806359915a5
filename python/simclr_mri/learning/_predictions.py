"""Predictions as a table on disk, one row an image."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from ..datasets import Dataset, labels_of


def predictions_csv(ds: Dataset, probabilities: np.ndarray) -> str:
    """file, subject, class, predicted, and the probability of each class."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "subject", "class", "predicted", *ds.classes])
    subjects = [""] * len(ds) if ds.subjects is None else ds.subjects
    for file, subject, label, row in zip(ds.files, subjects, labels_of(ds), probabilities, strict=True):
        writer.writerow([file, subject, ds.classes[label], ds.classes[int(row.argmax())], *(f"{p:.6f}" for p in row)])
    return text.getvalue()


def read_predictions(path: str | Path) -> np.ndarray:
    """The probabilities of `predictions_csv`, float64 (N, classes)."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    return np.array([[float(cell) for cell in row[4:]] for row in rows[1:]])
