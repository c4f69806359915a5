"""How often 95 % intervals hold the truth, over many simulated studies of classifiers of known accuracy.

    PYTHONPATH=tests python tests/bench/bench_coverage.py [--studies 500] [--quick | --counts 12 9 3]

Each line is one classifier and size: the share of studies whose interval holds the truth, in percent, by metric; "-"
where there are too few subjects for an interval. A line of "paired" is the difference of two classifiers on the same
subjects. With 500 studies a share of 95 % has a standard error of 1 %. Takes about 40 minutes on one core; --counts
does one size, --quick the two smallest. `tests/python/metrics/test_coverage.py` checks a part of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np

from reference.studies import coverages, paired_coverage, population
from simclr_mri.metrics import METRICS
from simclr_mri.metrics._bootstrap import Sample, confusion_metrics

SIZES = ((12, 9, 3), (30, 20, 10), (100, 70, 30), (12, 12), (40, 30, 20, 10))
NAMES = ("accuracy", "balanced_accuracy", "macro_f1", "auc", "kappa", "brier", "recall 0", "recall 1", "precision 0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=500)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--counts", type=int, nargs="+", help="subjects of each class: one size instead of all")
    options = parser.parse_args()
    sizes = (tuple(options.counts),) if options.counts else SIZES[: 2 if options.quick else None]
    print(f"{'subjects':17}{'recalls':22}{'judged by':16}" + "".join(f"{name[:11]:>12}" for name in NAMES))
    with quick_values():
        shares = np.array([share for counts in sizes for share in judge_size(counts, options.studies)])
    shares = shares[~np.isnan(shares)]
    print(f"{((shares < 0.92) | (shares > 0.98)).sum()} of {len(shares)} are outside 92 to 98 %")


@contextmanager
def quick_values() -> Iterator[None]:
    """Metrics of a sample as those of a resample with weights of 1, which a test compares with scikit-learn's.

    scikit-learn's checks of its arguments are three quarters of the time of a study of 24 subjects.
    """

    def values(sample: Sample) -> dict[str, object]:
        found = confusion_metrics(sample, np.ones((1, len(sample.labels))))
        return {name: value[0] if value.ndim > 1 else float(value[0]) for name, value in found.items()}

    with (
        mock.patch("simclr_mri.metrics._evaluate.evaluate_sample", values),
        mock.patch("simclr_mri.metrics._pooling.evaluate_sample", values),
        mock.patch.object(Sample, "confusion", _confusion),
    ):
        yield


def _confusion(sample: Sample) -> np.ndarray:
    k = sample.n_classes
    return np.bincount(sample.labels * k + sample.predicted, minlength=k * k).reshape(k, k)


def judge_size(counts: tuple[int, ...], n_studies: int) -> list[float]:
    """Prints the lines of one size, and returns its shares."""
    k, shares = len(counts), []
    for recalls in ((0.8,) * k, (0.6,) * k, tuple(np.linspace(0.9, 0.5, k).round(2).tolist())):
        for slices, levels in ((1, ("slice",)), (8, ("slice", "subject"))):
            found = coverages(population(recalls, slices=slices), counts, levels, n_studies)
            for level in levels:
                shares += show(counts, str(recalls), f"{level}, x {slices}", [found[level][name][0] for name in NAMES])
    differences = [paired(counts, metric, n_studies) for metric in METRICS if metric != "ece"]
    return shares + show(counts, ".6 and .8", "paired, subject", differences)


def show(counts: tuple[int, ...], recalls: str, judged_by: str, shares: list[float]) -> list[float]:
    """Prints one line."""
    cells = "".join(f"{'-' if np.isnan(v) else f'{100 * v:.1f}':>12}" for v in shares)
    print(f"{counts!s:17}{recalls:22}{judged_by:16}{cells}", flush=True)
    return shares


def paired(counts: tuple[int, ...], metric: str, n_studies: int) -> float:
    a, b = (population((recall,) * len(counts), slices=2) for recall in (0.6, 0.8))
    return paired_coverage(a, b, counts, metric, n_studies)


if __name__ == "__main__":
    main()
