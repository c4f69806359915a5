"""Copies in a set of images: equal pixels, and the same picture turned, mirrored, zoomed, cropped, recoded or filtered.

Three sieves. Descriptors that ignore turning, mirroring and zooming name a few candidates for every image. Each
candidate is laid over the image. A pair is a copy if the two differ less than neighbouring slices of one subject do.

A search that finds nothing says little unless it could have found something. So edited copies of some images of the set
are searched for along with the rest, and how many of these were found is reported beside the result.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage
from threadpoolctl import threadpool_limits

from .._shared import ArrayRecord
from . import _alignment as align
from . import _fourier_mellin as fm

COPY = 0.9
"""Difference up to which a pair is a copy. Neighbouring slices, 1 mm apart, differ by 1 and more."""

NEAR_MISS = 2.2
"""Difference up to which a pair is aligned a second time. Images with a gamma of 0.5 or 2 come to 1.5 at first."""

N_CANDIDATES = 6
"""Kept for each image. Neighbouring slices take the first two or three places."""

SIMILAR, VIEW_SIMILAR = 0.3, 0.42
"""Similarity of descriptors from which a pair is looked at: of two images, and of a view and an image."""

PEAK, PEAK_UNMOVED = 0.56, 0.75
"""Correlation of polar spectra from which a pair is looked at further. Pairs that are no copies reach .62 (99 %: .5)
where one must be moved; neighbouring slices, which need not be, have .8 to .94. Copies have .6 and more, .85 where not
moved."""

FITS = 0.55
"""Correlation, after turning and shifting, from which a pair is looked at further; a padded copy has .6 and more."""

UNMOVED = 0.02
"""Largest change of the matrix, turn (1 degree) or zoom, of what counts as unmoved."""

BLANK = 2.0
"""Standard deviation of grey levels below which an image shows nothing, and is no copy of another such."""

MOVED, MOVED_PX = 0.05, 3.0
"""Change of the matrix (3 degrees, 5 %), and shift at 64 x 64, that neighbouring slices do not show."""

STANDS_OUT, USUAL = 0.3, 0.45
"""Share of the next smallest difference of its images, or of the smallest usual one of the set, up to which a pair in
the same place is a copy."""

N_CONTEXT = 300
"""Images from which the usual difference of neighbours is taken."""

N_CONTROLS = 96
"""Edited copies that are planted to see whether they are found."""

CONTROLS = ("turned, mirrored or zoomed", "shifted", "stretched", "grey levels or blur", "noise")
"""What is done to the planted copies, in turn, up to the limits of what is looked for: a shift by 11 % of the picture,
stretching by 10 %, noise of 20 grey levels at 128 x 128 pixels. These three are found least often."""

SOUGHT = (
    "equal pixels; turned by any angle, mirrored, flipped, shifted, zoomed by up to 1.4, stretched by up to 1.1, "
    "cropped to 80 %, padded; with changed brightness, contrast or gamma, inverted, with noise, blur, writing, or "
    "encoded again"
)
BLIND = "elastic deformation, smaller crops, stronger noise, and other slices or scans of the same subject"


@dataclass(frozen=True, eq=False)
class Copies(ArrayRecord):
    """What `find_copies` found.

    Attributes
    ----------
    pairs : ndarray of shape (P, 2), int
        Indices of copies, the smaller first; each image is paired with a few of its copies, not with all of them.
    equal : ndarray of shape (P,), bool
        Pixel by pixel; the others are edited.
    linear : ndarray of shape (P, 2, 2), float64
        How the first becomes the second: (row, column) about the centre. The unit matrix for equal pixels.
    n_images : int
    n_controls, n_controls_found : int
        Planted copies, and how many of these were found.
    controls : tuple of (str, int, int)
        The same by what was done to them: `CONTROLS`, planted, found.

    Examples
    --------
    >>> from simclr_mri import datasets
    >>> images = datasets.phantoms(n_subjects=20, slices=2, image_size=64).images
    >>> len(find_copies(images[:6], images[3:5]))
    2
    """

    pairs: np.ndarray
    equal: np.ndarray
    linear: np.ndarray
    n_images: int
    n_controls: int
    n_controls_found: int
    controls: tuple[tuple[str, int, int], ...] = ()

    def __len__(self) -> int:
        return len(self.pairs)

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary a pair: both indices and how the pictures differ."""
        return [{"first": int(a), "second": int(b), "edit": self.edit(i)} for i, (a, b) in enumerate(self.pairs)]

    def edit(self, i: int) -> str:
        """How pair i differs, in words: "mirrored, turned by 20 degrees, zoomed to 110 %"."""
        if self.equal[i]:
            return "equal pixels"
        return describe_map(self.linear[i])

    def power(self) -> str:
        """How many planted copies were found, in words."""
        return f"{self.n_controls_found:,} of {self.n_controls:,} planted copies found" if self.n_controls else ""

    def missed(self) -> str:
        """Of which kinds of planted copies some were missed, in words: "noise 14 of 19"; empty for none."""
        return ", ".join(f"{kind} {found} of {planted}" for kind, planted, found in self.controls if found < planted)


def describe_map(linear: np.ndarray) -> str:
    """A linear map of (row, column) in words."""
    mirrored = np.linalg.det(linear) < 0
    turn = linear @ np.diag([1.0, -1.0]) if mirrored else linear
    zoom = float(np.sqrt(abs(np.linalg.det(linear))))
    degrees = float(np.rad2deg(np.arctan2(turn[1, 0] - turn[0, 1], turn[0, 0] + turn[1, 1])))
    said = []
    if mirrored:
        said.append("flipped" if abs(abs(degrees) - 180) < 1 else "mirrored")
        degrees = 0.0 if said == ["flipped"] else degrees
    if abs(degrees) >= 1:
        said.append(f"turned by {abs(degrees):.0f} degrees")
    if abs(zoom - 1) >= 0.02:
        said.append(f"zoomed to {zoom:.0%}")
    spread = np.linalg.svd(linear, compute_uv=False)
    if spread[0] / max(spread[1], 1e-6) > 1.03:
        said.append("stretched")
    return ", ".join(said) or "same place, other grey levels or encoding"


def find_copies(*images: np.ndarray, edited: bool = True, controls: int = N_CONTROLS, seed: int = 0) -> Copies:
    """Searches a set, or several as one, for copies.

    Parameters
    ----------
    *images : ndarray of shape (N, H, W, C), uint8
        Sets may differ in size; they are numbered one after the other.
    edited : bool
        False looks for equal pixels only.
    controls : int
        Edited copies that are planted, to see how many are found; 0 for none.
    seed : int
        Of the planted copies.

    Returns
    -------
    Copies

    Examples
    --------
    >>> from simclr_mri import datasets
    >>> images = datasets.phantoms(n_subjects=20, slices=2, image_size=64).images
    >>> found = find_copies(images, images[3:5, :, ::-1])
    >>> found.pairs.tolist(), found.edit(0)
    ([[3, 40], [4, 41]], 'mirrored')
    """
    n = sum(map(len, images))
    equal = _equal_pairs(images)
    if not edited:
        return Copies(equal, np.ones(len(equal), bool), np.tile(np.eye(2), (len(equal), 1, 1)), n, 0, 0)
    gray = np.concatenate([fm.shrink(part) for part in images if len(part)] or [np.zeros((0, 1, 1), np.float32)])
    keep = np.setdiff1d(np.arange(n), equal[:, 1])
    keep = keep[gray[keep].std(axis=(1, 2)) >= BLANK]
    gray = gray[keep]
    rng = np.random.default_rng([seed, len(keep)])
    sources = np.sort(rng.choice(len(keep), min(controls, len(keep)), replace=False))
    planted = [_edit(gray[i], CONTROLS[k % len(CONTROLS)], rng) for k, i in enumerate(sources)]
    pairs, linear = _search(np.concatenate([gray, planted]) if planted else gray)
    control = pairs[:, 1] >= len(keep)
    own = control & (pairs[:, 0] == np.append(sources, 0)[np.maximum(pairs[:, 1] - len(keep), 0)])
    found = keep[pairs[~control]].reshape(-1, 2)
    maps = np.concatenate([np.tile(np.eye(2), (len(equal), 1, 1)), linear[~control]])
    flags = np.arange(len(equal) + len(found)) < len(equal)
    seen = np.isin(len(keep) + np.arange(len(sources)), pairs[own, 1])
    kinds = np.arange(len(sources)) % len(CONTROLS)
    by_kind = tuple((name, int((kinds == k).sum()), int(seen[kinds == k].sum())) for k, name in enumerate(CONTROLS))
    return Copies(np.concatenate([equal, found]), flags, maps, n, len(sources), int(seen.sum()), by_kind)


def _equal_pairs(images: Sequence[np.ndarray]) -> np.ndarray:
    """Images with equal pixels, each with the first of its kind: ndarray of shape (P, 2), int."""
    seen: dict[tuple[tuple[int, ...], bytes], int] = {}
    every = (
        (part.shape[1:], hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest())
        for part in images
        for image in part
    )
    pairs = [(first, i) for i, key in enumerate(every) if (first := seen.setdefault(key, i)) != i]
    return np.array(pairs, np.int64).reshape(-1, 2)


# -- planted copies ----------------------------------------------------------------------------------------------------


def _edit(gray: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """A copy as someone might have made it, at 64 x 64: edited in one way, and with slightly other grey levels."""
    linear, shift, noise, blur, strength = np.eye(2), np.zeros(2), rng.uniform(0, 3), 0.0, 0.1
    if kind == "turned, mirrored or zoomed":
        linear = fm.rotation(rng.uniform(-180, 180), np.exp(rng.uniform(-0.25, 0.25)))
        linear = linear @ np.diag([1, rng.choice([-1, 1])])
        shift = rng.uniform(-2, 2, 2)
    elif kind == "shifted":
        shift = rng.uniform(-7, 7, 2)
    elif kind == "stretched":
        turn, by = fm.rotation(rng.uniform(0, 180)), np.exp(rng.uniform(0.03, 0.095))
        linear = turn @ np.diag([by, 1]) @ turn.T
    elif kind == "noise":
        noise = rng.uniform(3, 10)  # as 6 to 20 at 128 x 128, before it is shrunk
    else:
        strength, blur = 0.3, rng.uniform(0, 0.6)
    inverse = np.linalg.inv(linear)
    offset = fm.CENTRE - inverse @ (fm.CENTRE + shift)
    still = np.array_equal(linear, np.eye(2)) and not shift.any()
    out = (gray if still else ndimage.affine_transform(gray, inverse, offset, order=1)) / 255
    out = 255 * np.exp(rng.uniform(-strength, strength)) * out ** np.exp(rng.uniform(-strength, strength))
    out = ndimage.gaussian_filter(out, blur) if blur else out
    return np.clip(np.round(out + rng.normal(0, noise, out.shape)), 0, 255).astype(np.float32)


# -- the search --------------------------------------------------------------------------------------------------------


def _search(gray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of copies among pictures that are not blank, and the map of each: (P, 2) and (P, 2, 2)."""
    if len(gray) < 2:
        return np.zeros((0, 2), np.int64), np.zeros((0, 2, 2))
    with ThreadPoolExecutor(n_threads()) as pool, threadpool_limits(1):
        contrast = pool.map(lambda part: fm.local_contrast(gray[part]).astype(np.float16), _parts(len(gray), 256))
        detail = np.concatenate(list(contrast))
        spectra, rows = _candidates(detail, pool)
        if not len(rows):
            return np.zeros((0, 2), np.int64), np.zeros((0, 2, 2))
        aligned = pool.map(lambda part: _align(detail, spectra, rows[part]), _parts(len(rows), align.BATCH))
        pairs, start = zip(*aligned, strict=True)
        images = _Pictures(gray, detail)
        pairs, found, differ = images.compare(np.concatenate(pairs), align.joined(start), pool)
        moved = (np.abs(found.linear - np.eye(2)).max(axis=(1, 2)) > MOVED) | (
            np.abs(found.shift).max(axis=1) > MOVED_PX
        )
        copy = differ < COPY
        doubtful = np.flatnonzero(copy & ~moved)
        if len(doubtful):
            still = rows[(rows[:, 2] == 0), :2]
            copy[doubtful] = _stands_out(images, pairs[doubtful], differ[doubtful], still, pool)
    pairs, maps = pairs[copy], found.linear[copy]
    swapped = pairs[:, 0] > pairs[:, 1]
    maps[swapped] = np.linalg.inv(maps[swapped])
    pairs, once = np.unique(np.sort(pairs, axis=1), axis=0, return_index=True)
    return pairs, maps[once]


@dataclass(eq=False)
class _Pictures:
    """Grey levels and local contrast at 64 x 64."""

    gray: np.ndarray
    detail: np.ndarray

    def compare(
        self, pairs: np.ndarray, start: align.Alignment, pool: ThreadPoolExecutor
    ) -> tuple[np.ndarray, align.Alignment, np.ndarray]:
        """The pairs that fit once they are aligned, how, and how much they differ."""
        if not len(pairs):
            return pairs, start, np.zeros(0)
        parts = _parts(len(pairs), align.BATCH)
        refined = list(pool.map(lambda part: _refine(self.detail, pairs[part], start.take(part)), parts))
        pairs, found = np.concatenate([p for p, _ in refined]), align.joined([f for _, f in refined])

        def differ(part: slice) -> np.ndarray:
            a, b = self.gray[pairs[part, 0]], self.gray[pairs[part, 1]]
            return align.differences(a, b, found.take(part), 0.2 * COPY)

        parts = _parts(len(pairs), align.BATCH)
        least = np.concatenate([np.zeros(0), *pool.map(differ, parts)])
        self._again(pairs, found, least)
        return pairs, found, least

    def _again(self, pairs: np.ndarray, found: align.Alignment, least: np.ndarray) -> None:
        """Aligns near misses once more, after their grey levels: a gamma curve shifts edges a little."""
        near = np.flatnonzero((least >= COPY) & (least < NEAR_MISS))
        for part in _parts(len(near), align.BATCH):
            i = near[part]
            a, b = self.gray[pairs[i].T]
            left = fm.local_contrast(align.regraded(a, b, found.take(i)))
            better = align.refine(left, self.detail[pairs[i, 1]].astype(np.float32), found.take(i), steps=3)
            value = align.differences(a, b, better, 0.2 * COPY)
            won = value < least[i]
            i = i[won]
            least[i], found.linear[i], found.shift[i] = value[won], better.linear[won], better.shift[won]


def _stands_out(
    images: _Pictures, pairs: np.ndarray, differ: np.ndarray, still: np.ndarray, pool: ThreadPoolExecutor
) -> np.ndarray:
    """Whether two images that lie in the same place differ much less than either differs from its next most similar.

    In a dense or smooth stack neighbouring slices are as similar as copies; but there they come in chains.

    Parameters
    ----------
    images : _Pictures
    pairs, differ : ndarray of shape (P, 2) and (P,)
        What might be copies.
    still : ndarray of shape (M, 2)
        Candidates of all images in their own place.
    """
    n = len(images.gray)
    wanted = np.zeros(n, bool)
    wanted[pairs] = True
    wanted[np.random.default_rng(0).permutation(n)[:N_CONTEXT]] = True
    others = still[wanted[still].any(axis=1)]
    start = align.Alignment(np.tile(np.eye(2), (len(others), 1, 1)), np.zeros((len(others), 2)), np.ones(len(others)))
    others, _, steps = images.compare(others, start, pool)
    # Of each image, the smallest and the next smallest difference to another, and to whom the smallest is.
    order = np.argsort(np.tile(steps, 2), kind="stable")
    image, partner = np.concatenate([others, others[:, ::-1]])[order].T
    step = np.tile(steps, 2)[order]
    first, second, who = np.full(n, np.inf), np.full(n, np.inf), np.full(n, -1)
    for i, other, value in zip(image.tolist(), partner.tolist(), step.tolist(), strict=True):
        if np.isinf(first[i]):
            first[i], who[i] = value, other
        elif np.isinf(second[i]):
            second[i] = value
    a, b = pairs.T
    nearest = np.minimum(np.where(who[a] == b, second[a], first[a]), np.where(who[b] == a, second[b], first[b]))
    usual = second[np.isfinite(second)]
    ordinary = np.quantile(usual, 0.02) if len(usual) else np.inf
    return differ < np.maximum(STANDS_OUT * np.minimum(nearest, 0.5), USUAL * ordinary)


def _parts(n: int, size: int) -> Iterator[slice]:
    return (slice(i, min(i + size, n)) for i in range(0, n, size))


def _candidates(detail: np.ndarray, pool: ThreadPoolExecutor) -> tuple[np.ndarray, np.ndarray]:
    """Polar spectra of the images, and rows (image, other, view of the first, whether first choice) to look at."""
    n = len(detail)
    parts = list(_parts(n, 256))
    spectra = np.concatenate(list(pool.map(lambda part: fm.polar_spectra(detail[part].astype(np.float32)), parts)))
    whole = fm.describe(spectra)
    mean = whole.mean(axis=0)
    whole = _unit(whole - mean)
    views = [(view, part) for view in range(len(fm.VIEWS)) for part in parts]
    rows = pool.map(lambda job: _most_alike(detail, whole, mean, *job), views)
    return spectra, _best_of_each(np.concatenate(list(rows)), n)


def _most_alike(detail: np.ndarray, whole: np.ndarray, mean: np.ndarray, view: int, part: slice) -> np.ndarray:
    """Rows (image, other image, view, likeness) for some images in one view."""
    seen = whole[part]
    if view:
        seen = _unit(fm.describe(fm.polar_spectra(fm.warp(detail[part].astype(np.float32), *fm.VIEWS[view]))) - mean)
    likeness = seen @ whole.T
    here, k = np.arange(part.start, part.stop), np.arange(len(seen))
    likeness[k, here] = -1
    rows = []
    for _ in range(1 if view else 4):
        other = likeness.argmax(axis=1)
        value = likeness[k, other]
        likeness[k, other] = -1
        good = value > (VIEW_SIMILAR if view else SIMILAR)
        rows.append(np.stack([here, other, np.full(len(here), view), value], axis=1)[good])
    return np.concatenate(rows)


def _best_of_each(rows: np.ndarray, n: int) -> np.ndarray:
    """Of rows (a, b, view, likeness) the best for each pair, and of those the best few for either of its images."""
    rows = rows[np.argsort(-rows[:, 3], kind="stable")]
    a, b = rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64)
    _, best = np.unique(np.minimum(a, b) * n + np.maximum(a, b), return_index=True)
    rows = rows[np.sort(best)].astype(np.int64)
    taken = [0] * n
    rank = np.empty(len(rows), np.int64)
    for i, (a, b) in enumerate(rows[:, :2].tolist()):
        rank[i] = min(taken[a], taken[b])
        taken[a] += 1
        taken[b] += 1
    rows[:, 3] = rank == 0
    return rows[rank < N_CANDIDATES]


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-12)


def _align(detail: np.ndarray, spectra: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, align.Alignment]:
    """The candidates that fit over each other, and how."""
    a, b, view, first_choice = rows.T
    left = spectra[a]
    for v in np.unique(view[view > 0]):
        left[view == v] = fm.polar_spectra(fm.warp(detail[a[view == v]].astype(np.float32), *fm.VIEWS[v]))
    heights, maps = align.rotations(align.polar_transforms(left), align.polar_transforms(spectra[b]))
    best, i = heights.argmax(axis=0), np.arange(len(a))
    unmoved = np.abs(maps[0] - np.eye(2)).max(axis=(1, 2)) < UNMOVED
    # Neighbouring slices come unmoved, and often; a copy that was not moved is its original's first choice.
    unmoved &= (best == 0) & (view == 0)
    worth = np.where(unmoved, (first_choice > 0) & (heights[0] > PEAK_UNMOVED), heights.max(axis=0) > PEAK)
    maps = maps @ np.stack([fm.VIEWS[v][0] for v in view])
    # A head is nearly its own mirror image: where the spectra leave it open, both are tried.
    tries = [(np.flatnonzero(worth), best)]
    tries.append((np.flatnonzero(worth & (heights.min(axis=0) > 0.93 * heights.max(axis=0))), 1 - best))
    linear, shift, match = maps[best, i], np.zeros((len(a), 2)), np.zeros(len(a))
    for j, which in tries:
        if not len(j):
            continue
        da, db = detail[a[j]].astype(np.float32), detail[b[j]].astype(np.float32)
        found = align.shifts(da, db, maps[which[j], j])
        better = found.match > match[j]
        j = j[better]
        linear[j], shift[j], match[j] = found.linear[better], found.shift[better], found.match[better]
    fits = np.flatnonzero(match > FITS)
    return rows[fits, :2], align.Alignment(linear[fits], shift[fits], match[fits])


def _refine(detail: np.ndarray, pairs: np.ndarray, start: align.Alignment) -> tuple[np.ndarray, align.Alignment]:
    """The pairs that fit well once they are aligned, and how; two steps tell which are worth the others."""
    for steps, fit in ((2, 0.78), (4, 0.88)):
        a, b = detail[pairs.T].astype(np.float32)
        start = align.refine(a, b, start, steps=steps)
        good = start.match > fit
        pairs, start = pairs[good], start.take(good)
    return pairs, start


def n_threads() -> int:
    """Processors that this process may use, at most 8."""
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
