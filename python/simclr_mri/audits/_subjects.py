"""Which images show the same subject, from the pixels alone.

Slices of one head resemble their neighbours in fine detail, where heads differ: the folds. So each image is reduced to
a band of spatial frequencies (differences of Gaussians at 32 x 32 pixels), in which the directions that vary most over
the whole set (which level, how wide the ventricles) are scaled down to unit variance. Images are then joined by the
maximum spanning tree of their correlations: adjacent slices chain together, and the links between heads are the weak
ones. Otsu's threshold parts the two kinds; whether they are two kinds at all is told by Ashman's D.

References
----------
Otsu, IEEE Transactions on Systems, Man, and Cybernetics 9:62, 1979. Ashman et al., The Astronomical Journal 108:2348,
1994 (D). Prim, Bell System Technical Journal 36:1389, 1957.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from .. import _core
from .._shared import ArrayRecord
from ..splits import MAX_WORKERS, Cells, workers

SIDE_PX = 32


N_COMPONENTS = 300
"""And at most a fifth of the images: with more, whitening brings out noise. Measured adjusted Rand index: 1.000 on the
Alzheimer MRI set, .96 to .99 on phantoms of 60 to 200 subjects."""


MAX_MATRIX = 16_000
"""Images whose similarities are kept as one matrix (1 GB of float32). Above, each image is compared with those of a few
cells only: of 200,000 images all pairs would take half an hour."""


AT_ONCE = 4000
"""Images that a thread describes at a time: some 60 MB."""


N_NEIGHBOURS, N_CELLS = 16, 32
"""Links of each image from which the tree of more images is made, and cells in which they are looked for. Of 625
made-up subjects (20,000 images) 683 groups were found in 32 cells, 936 in 16."""


N_ENDS = 32
"""Images of a piece of that tree that look for a link to the others, where they do not hang together."""


N_FURTHER, N_SOME = 48, 4096
"""How many of its nearest rows each of these looks at, or some of all rows."""


N_CHECKED, MAX_MISSED = 1024, 0.01
"""Images that are compared with all others where the tree was made from few, and the share of them up to which groups
are called clear although one of another group is as similar as those of one subject: it was missed."""


CLEAR, UNCERTAIN = 4.5, 3.0
"""Ashman's D. Measured: 28 with all slices, 5 to 10 on phantoms (5 mm apart), 3.0 with every fourth slice, where chains
break; up to 2.8 where no two images share a subject, and on noise."""


MAX_BETWEEN = 0.06
"""Share of links near the threshold up to which groups are called clear (measured: 0 to .054, and .08 with gaps)."""


@dataclass(frozen=True, eq=False)
class Groups(ArrayRecord):
    """Images that seem to show the same subject.

    Attributes
    ----------
    labels : ndarray of shape (N,), int
        Group of each image; each image is one of its own when none are found.
    found : {"clear", "uncertain", "none"}
        "uncertain" groups are pieces: images of one group share a subject, but a subject may be in several groups.
    separation : float
        Ashman's D of the links within and between groups; below 3 they are of one kind.
    threshold : float
    links : ndarray of shape (N - 1,)
        Similarities along the spanning tree.
    neighbours, similarities : ndarray of shape (N,)
        The most similar other image, and how similar.
    """

    labels: np.ndarray
    found: str
    separation: float
    threshold: float
    links: np.ndarray
    neighbours: np.ndarray
    similarities: np.ndarray

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary an image: its group, and the most similar other image."""
        return [
            {"group": name, "neighbour": int(other), "similarity": float(how)}
            for name, other, how in zip(self.names().tolist(), self.neighbours, self.similarities, strict=True)
        ]

    @property
    def n_groups(self) -> int:
        """How many there are."""
        return int(self.labels.max()) + 1 if len(self.labels) else 0

    def joined(self, pairs: np.ndarray) -> Groups:
        """The same with both images of each pair in one group, as copies are; unchanged where no groups were found."""
        if self.found == "none" or not len(pairs):
            return self
        first = np.unique(self.labels, return_index=True)[1]
        ends = np.concatenate([np.stack([first[self.labels], np.arange(len(self.labels))], axis=1), pairs])
        return replace(self, labels=_components(len(self.labels), ends))

    def names(self) -> np.ndarray:
        """Names to use as subjects: `ds.with_subjects(groups.names())`."""
        return np.array([f"group-{label + 1:04d}" for label in self.labels])


def infer_groups(images: np.ndarray) -> Groups:
    """Finds images of the same subject.

    Parameters
    ----------
    images : ndarray of shape (N, H, W, C), uint8

    Returns
    -------
    Groups
    """
    n = len(images)
    if n < 8:
        own = np.arange(n)
        return Groups(own, "none", 0.0, 1.0, np.zeros(0), own, np.zeros(n))
    features = fingerprints(images)
    tree = _spanning_tree if n <= MAX_MATRIX else _sparse_tree
    ends, links, neighbours, similarities = tree(features)
    threshold, separation, between = _two_kinds(links)
    if separation < UNCERTAIN:
        return Groups(np.arange(n), "none", separation, threshold, links, neighbours, similarities)
    found = "clear" if separation >= CLEAR and between <= MAX_BETWEEN else "uncertain"
    labels = _components(n, ends[links > threshold])
    if n > MAX_MATRIX and _missed(features, labels, threshold) > MAX_MISSED:
        found = "uncertain"
    return Groups(labels, found, separation, threshold, links, neighbours, similarities)


def fingerprints(images: np.ndarray) -> np.ndarray:
    """Whitened fine detail: ndarray of shape (N, D), float32, rows of length 1."""
    small = _core.resize(images, SIDE_PX)
    parts = [small[i : i + AT_ONCE] for i in range(0, len(small), AT_ONCE)]
    with workers() as pool:
        sums = pool.map(lambda part: _detail(part).sum(axis=0, dtype=np.float64), parts)
        mean = (sum(sums) / len(small)).astype(np.float32)
        covariance = sum(pool.map(lambda part: _square(_detail(part) - mean), parts))
        variances, directions = np.linalg.eigh(covariance)
        keep = np.flatnonzero(variances > 1e-6 * variances[-1])[-min(N_COMPONENTS, max(2, len(images) // 5)) :]
        whitening = directions[:, keep] / np.sqrt(variances[keep])
        return np.concatenate(list(pool.map(lambda part: _unit((_detail(part) - mean) @ whitening), parts)))


def _square(rows: np.ndarray) -> np.ndarray:
    return rows.T @ rows


def _detail(small: np.ndarray) -> np.ndarray:
    """Differences of Gaussians, rows of length 1: ndarray of shape (n, SIDE_PX ** 2), float32."""
    gray = small.mean(axis=3, dtype=np.float32)
    fine, coarse = _blur_matrix(SIDE_PX, 0.25), _blur_matrix(SIDE_PX, 1.0)
    detail = (fine @ gray @ fine - coarse @ gray @ coarse).reshape(len(gray), -1)
    return _unit(detail - detail.mean(axis=1, keepdims=True))


def _blur_matrix(n: int, sigma_px: float) -> np.ndarray:
    """Gaussian smoothing along one axis as a matrix."""
    distance = np.subtract.outer(np.arange(n), np.arange(n))
    weights = np.exp(-0.5 * (distance / sigma_px) ** 2)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _unit(rows: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.maximum(length, 1e-12)).astype(np.float32)


def _spanning_tree(features: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Prim's maximum spanning tree over correlations, and each image's most similar other.

    Returns
    -------
    ends : ndarray of shape (N - 1, 2), int
    links, neighbours, similarities
    """
    n = len(features)
    matrix = features @ features.T
    neighbours, similarities = np.zeros(n, np.int64), np.zeros(n, np.float32)
    best, parent = np.full(n, -3, np.float32), np.zeros(n, np.int64)
    outside = np.ones(n, bool)
    ends, links = np.empty((n - 1, 2), np.int64), np.empty(n - 1, np.float32)
    new = 0
    for step in range(n):
        row = matrix[new]
        row[new] = -2
        neighbours[new] = row.argmax()
        similarities[new] = row[neighbours[new]]
        outside[new] = False
        best[new] = -4
        closer = outside & (row > best)
        best[closer], parent[closer] = row[closer], new
        if step < n - 1:
            new = int(best.argmax())
            ends[step], links[step] = (parent[new], new), best[new]
    return ends, links, neighbours, similarities


def _sparse_tree(features: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The same of a graph in which each image has a few neighbours; pieces of it are joined by their best links."""
    n = len(features)
    cells = Cells(features)
    parts = np.array_split(np.arange(n), MAX_WORKERS)
    with workers() as pool:
        near = pool.map(lambda own: cells.nearest(features[own], N_NEIGHBOURS, own, n_probed=N_CELLS), parts)
        found, likeness = (np.concatenate(column) for column in zip(*near, strict=True))
    pairs, values = _edges(np.repeat(np.arange(n), N_NEIGHBOURS), found.ravel(), likeness.ravel())
    while True:
        # scipy takes 0 for no edge, so that a distance must not be 0; float64 tells similarities near 1 apart.
        distance = 3.0 - values.astype(np.float64)
        tree = csgraph.minimum_spanning_tree(sparse.csr_array((distance, pairs.T), shape=(n, n))).tocoo()
        n_pieces, piece = csgraph.connected_components(tree, directed=False)
        if n_pieces == 1:
            ends, links = np.stack([tree.row, tree.col], axis=1), (3.0 - tree.data).astype(np.float32)
            return ends.astype(np.int64), links, found[:, 0], likeness[:, 0]
        more, value = _links_between(cells, piece, n_pieces)
        a, b = np.concatenate([pairs, more]).T
        pairs, values = _edges(a, b, np.concatenate([values, value]))


def _edges(a: np.ndarray, b: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each pair once, the smaller first, without those that there are not."""
    there = values > -2
    pairs = np.sort(np.stack([a[there], b[there]], axis=1), axis=1)
    _, once = np.unique(pairs[:, 0] * (b.max() + a.max() + 1) + pairs[:, 1], return_index=True)
    return pairs[once], values[there][once]


def _links_between(cells: Cells, piece: np.ndarray, n_pieces: int) -> tuple[np.ndarray, np.ndarray]:
    """For each piece but the largest, the best link from some of its images to another piece.

    It is looked for among the rows that the cells give; where these are all of the piece, among some of all rows. So
    the cost grows with the number of images and little more.
    """
    largest, order = np.bincount(piece).argmax(), np.argsort(piece, kind="stable")
    starts = np.searchsorted(piece[order], np.arange(n_pieces + 1))
    members = [order[starts[p] : starts[p + 1]] for p in range(n_pieces) if p != largest]
    members = [m[np.linspace(0, len(m) - 1, min(N_ENDS, len(m))).astype(int)] for m in members]
    asked = np.concatenate(members)
    found = [_nearest_elsewhere(cells, piece, asked[i : i + 4096]) for i in range(0, len(asked), 4096)]
    other, likeness = (np.concatenate(column) for column in zip(*found, strict=True))
    spread = np.linspace(0, len(piece) - 1, min(N_SOME, len(piece))).astype(int)
    some = np.union1d(spread, order[starts[:-1]][:N_SOME])  # of several pieces, whatever they are
    pairs, values, first = [], [], 0
    for mine in members:
        best = first + int(likeness[first : first + len(mine)].argmax())
        a, b, value = asked[best], other[best], likeness[best]
        first += len(mine)
        if value == -2:
            products = cells.rows[mine] @ cells.rows[some].T
            products[:, piece[some] == piece[a]] = -2
            i, j = np.unravel_index(products.argmax(), products.shape)
            a, b, value = mine[i], some[j], products[i, j]
        pairs.append((a, b))
        values.append(value)
    return np.array(pairs, np.int64), np.array(values, np.float32)


def _nearest_elsewhere(cells: Cells, piece: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of some rows the nearest of another piece that the cells give, and the likeness: -2 if there is none."""
    near, values = cells.nearest(cells.rows[asked], N_FURTHER, asked, n_probed=N_CELLS)
    values[piece[near] == piece[asked][:, None]] = -2
    best = values.argmax(axis=1)[:, None]
    return np.take_along_axis(near, best, 1)[:, 0], np.take_along_axis(values, best, 1)[:, 0]


def _missed(features: np.ndarray, labels: np.ndarray, threshold: float) -> float:
    """Share of some images to which one of another group is similar enough to be of the same subject."""
    checked = np.linspace(0, len(features) - 1, min(N_CHECKED, len(features))).astype(int)

    def count(part: np.ndarray) -> int:
        likeness = features[part] @ features.T
        likeness[labels[part][:, None] == labels] = -2
        return int((likeness.max(axis=1) > threshold).sum())

    with workers() as pool:
        return sum(pool.map(count, np.array_split(checked, max(1, len(checked) // 64)))) / len(checked)


def _two_kinds(links: np.ndarray) -> tuple[float, float, float]:
    """Otsu's threshold, Ashman's D, and the share of links in the middle 15 % on either side of the threshold."""
    ordered = np.sort(links).astype(np.float64)
    n, k = len(ordered), np.arange(1, len(ordered))
    sums = np.cumsum(ordered)
    low, high = sums[:-1] / k, (sums[-1] - sums[:-1]) / (n - k)
    cut = int(np.argmax(k * (n - k) * (high - low) ** 2))
    threshold = (ordered[cut] + ordered[cut + 1]) / 2
    below, above = ordered[: cut + 1], ordered[cut + 1 :]
    step = above.mean() - below.mean()
    # Two exact copies of everything have no spread at all: D is then as good as infinite.
    separation = step * np.sqrt(2 / max(below.var() + above.var(), 1e-12))
    between = np.mean(np.abs(ordered - threshold) < 0.15 * step)
    return float(threshold), float(separation), float(between)


def _components(n: int, ends: np.ndarray) -> np.ndarray:
    """Group numbers in order of first appearance, joining the two ends of every link."""
    root = list(range(n))

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    for a, b in ends.tolist():
        a, b = find(a), find(b)
        root[max(a, b)] = min(a, b)
    return np.unique([find(i) for i in range(n)], return_inverse=True)[1]
