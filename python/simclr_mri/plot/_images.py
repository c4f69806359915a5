"""Pictures of a data set, and of its augmented views."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from .._shared import Views, short
from ..datasets import Dataset, check_dataset
from ..views import CustomViews
from ._style import axes_of_size, draw_tiles, styled


@styled
def montage(ds: Dataset, *, per_class: int = 8, seed: int = 0, ax: Axes | None = None) -> Axes:
    """Images of every class, one row a class, of different subjects where possible.

    Examples
    --------
    >>> from simclr_mri import datasets
    >>> ds = datasets.phantoms(n_subjects=8, slices=1, image_size=32, task="cdr0")
    >>> ax = montage(ds, per_class=3)
    """
    check_dataset(ds, "ds")
    rng = np.random.default_rng(seed)
    labels = np.zeros(len(ds), np.int64) if ds.labels is None else ds.labels
    names = ds.classes if ds.labels is not None else ("",)
    rows, shown = [], []
    for c, name in enumerate(names):
        found = rng.permutation(np.flatnonzero(labels == c))
        if len(found) == 0:
            continue
        if ds.subjects is not None:
            first = np.unique(ds.subjects[found], return_index=True)[1]
            found = np.concatenate([found[np.sort(first)], np.delete(found, first)])
        rows.append(list(ds[found[:per_class]].images))
        shown.append(f"{short(name)}\n{len(found):,}")
    ax = axes_of_size(ax, (1.0 * per_class + 1.2, 1.05 * len(rows)))
    height, _ = draw_tiles(ax, rows)
    for r, name in enumerate(shown):
        ax.text(-4, r * height + height / 2, name, ha="right", va="center", fontsize=9)
    return ax


@styled
def views(
    ds: Dataset,
    *,
    kind: Views | CustomViews = "mri",
    n: int = 3,
    n_views: int = 6,
    seed: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Images (left) and random views of them, as SimCLR sees them.

    Examples
    --------
    >>> from simclr_mri import datasets
    >>> ds = datasets.phantoms(n_subjects=8, slices=1, image_size=32, task="cdr0")
    >>> ax = views(ds, kind="mri", n=2, n_views=3)
    """
    from ..views import Preprocess, augmented_batch

    check_dataset(ds, "ds")
    if not 1 <= n <= len(ds):
        raise ValueError(f"n: expected 1 to {len(ds):,}, the images that there are, got {n}")
    plain = Preprocess.of(ds.images, normalize=False)
    indices = np.random.default_rng(seed).choice(len(ds), n, replace=False)
    drawn = [augmented_batch(ds.images, indices, kind, plain, seed=seed, epoch=0, view=v) for v in range(n_views)]
    rows = [
        [ds.images[index], *(np.clip(view[i] * 255, 0, 255).round() for view in drawn)]
        for i, index in enumerate(indices)
    ]
    ax = axes_of_size(ax, (1.1 * (n_views + 1), 1.15 * n + 0.3))
    _, width = draw_tiles(ax, rows)
    ax.set_title(f'image, and views "{getattr(kind, "__name__", kind)}"')
    ax.axvline(width - 2, color="#D55E00", linewidth=1.5)
    return ax
