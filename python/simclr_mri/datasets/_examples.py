"""A few images that stand for a data set: the classes in turn, each of another subject."""

from __future__ import annotations

import numpy as np

from ._dataset import Dataset


def spread_examples(ds: Dataset, n: int) -> Dataset:
    """Up to n images, the classes in turn, each of another subject as long as there are any.

    Of a subject the slices that show most of the known regions come first, and of these the middle one.
    """
    labels = np.zeros(len(ds), np.int64) if ds.labels is None else ds.labels
    n_regions = np.zeros(len(ds), np.int64)
    for mask in (ds.masks or {}).values():
        n_regions += mask.any(axis=(1, 2))
    queues: list[list[int]] = []
    for c in np.unique(labels):
        found = np.flatnonzero(labels == c)
        if ds.subjects is not None:
            rank = np.zeros(len(found), np.int64)
            for subject in np.unique(ds.subjects[found]):
                mine = np.flatnonzero(ds.subjects[found] == subject)
                showing = n_regions[found[mine]]
                fullest = np.flatnonzero(showing == showing.max())
                off_middle = np.abs(np.arange(len(mine)) - fullest[len(fullest) // 2])
                rank[mine[np.lexsort((off_middle, -showing))]] = np.arange(len(mine))
            found = found[np.argsort(rank, kind="stable")]
        queues.append(found.tolist())
    chosen: list[int] = []
    while len(chosen) < n and any(queues):
        chosen += [queue.pop(0) for queue in queues if queue]
    return ds[np.array(sorted(chosen[:n], key=lambda i: (labels[i], i)), np.int64)]
