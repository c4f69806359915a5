"""The search for edited copies among pictures of 64 x 64.

Three sieves. Descriptors that ignore turning, mirroring and zooming name a few candidates for every image, and means of
local contrast name those that lie in the same place. Each candidate is laid over the image. A pair is a copy if the two
differ less than neighbouring slices of one subject do.

The cost is bounded: each image is compared with at most N_CANDIDATES moved and N_UNMOVED + 4 unmoved ones. Above
MAX_ALL images these are looked for in cells, so that it grows with the number of images and little more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from . import _alignment as align
from . import _fourier_mellin as fm
from ._neighbours import Cells, workers

COPY = 0.9
"""Difference up to which a pair is a copy. Neighbouring slices, 1 mm apart, differ by 1 and more."""

ENOUGH, NEAR = 0.2 * COPY, 1.2 * COPY
"""Difference below which nothing smaller is looked for, and up to which images are moved again by splines: that takes
up to .15 off."""

COPY_NOISY, NOISIER, NOISE = 1.4, 1.5, 5.0
"""The same for a pair in the same place of which one has so many times the noise of the other, and so much: noise of 20
grey levels at 128 x 128, 10 at 64 x 64, leaves up to 1.36. Neighbouring slices of the Alzheimer MRI set differ by 1.54
and more."""

NOISY_STANDS_OUT = 0.45
"""Share of the next smallest difference of its images up to which a noisy pair in the same place is a copy: those have
.27 and less, neighbouring slices .8 and more."""

MIDDLE = 1.6
"""Difference of the middle of two pictures in the same place up to which they may be copies."""

NEAR_MISS = 2.2
"""Difference up to which a pair is aligned a second time. Images with a gamma of 0.5 or 2 come to 1.5 at first."""

N_CANDIDATES = 6
"""Kept for each image. Neighbouring slices take the first two or three places."""

SIMILAR, VIEW_SIMILAR = 0.3, 0.42
"""Similarity of descriptors from which a pair is looked at: of two images, and of a view and an image."""

N_DIRECTIONS, N_SAMPLE = 96, 4096
"""Of the 294 numbers of a descriptor, so many directions are compared, found from so many of the images."""

MAX_ALL = 16_000
"""Images up to which each is compared with all others; above, with those of a few cells (see `Cells`)."""

BLOCK = 32_768
"""Images whose views are held at a time: 126 MB of descriptors."""

N_UNMOVED = 3
"""Images that each is compared with as they lie: one as a copy, the others for writing and for what is usual. Four
more are those that parts of it resemble most."""

LIES_OVER = 0.9
"""Correlation of local contrast from which two images lie in the same place: neighbouring slices, mostly."""

COARSE_PEAK = 0.44
"""The same at low frequencies alone, six times as cheap. 93 % of the candidates that fit no better later are below it;
of those that were copies the lowest had .52 (3,111 candidates among 3,828 MRI slices and edited copies)."""

PEAK, PEAK_UNMOVED = 0.56, 0.7
"""Correlation of polar spectra from which a pair is looked at further. Pairs that are no copies reach .62 (99 %: .5)
where one must be turned or zoomed; neighbouring slices, which need not be, have .8 to .94. Copies have .6 and more, .74
where only shifted, by up to 11 % of the picture."""

FITS = 0.55
"""Correlation, after turning and shifting, from which a pair is looked at further; a padded copy has .6 and more."""

FITS_UNMOVED = 0.93
"""The same, once they are aligned, of a pair that need not be moved. Pictures of two heads in one frame come to .91."""

ELSEWHERE = 0.6
"""Correlation as they lie up to which two images may be the same one shifted: by 5 % of the picture .57 is left at
most, by 8 % .3."""

UNMOVED = 0.02
"""Largest change of the matrix, turn (1 degree) or zoom, of what counts as not turned and not zoomed."""

MOVED, MOVED_PX = 0.05, 3.0
"""Change of the matrix (3 degrees, 5 %), and shift at 64 x 64, that neighbouring slices do not show."""

STANDS_OUT, USUAL = 0.3, 0.45
"""Share of the next smallest difference of its images, or of the smallest usual one of the set, up to which a pair in
the same place is a copy."""

OF_ODD = 0.5
"""Share of that for pairs that are compared after bending grey levels or without some tiles: more alike anyway."""

N_CONTEXT = 300
"""Images from which the usual difference of neighbours is taken."""


def search_copies(gray: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Pairs of copies among pictures that are not blank, the map of each, (P, 2) and (P, 2, 2), and `n_crowded`."""
    if len(gray) < 2:
        return np.zeros((0, 2), np.int64), np.zeros((0, 2, 2)), 0
    with workers() as pool:
        images = _Pictures(gray, _local_contrast(gray, pool))
        detail = images.detail
        near = _unmoved_candidates(detail, pool)
        still = _each_once(np.stack([np.repeat(np.arange(len(gray)), near.shape[1]), near.ravel()], axis=1))
        rows, n_crowded, turns = _moved_candidates(detail, pool)
        pairs, start = _start(detail, turns, rows, near[:, 0], pool)
        pairs, found, differ = images.compare(pairs, start, pool)
        moved = (np.abs(found.linear - np.eye(2)).max(axis=(1, 2)) > MOVED) | (
            np.abs(found.shift).max(axis=1) > MOVED_PX
        )
        noisy = images.differ_in_noise(pairs, differ) & ~moved
        kept = np.where(moved, differ < COPY, ((differ < COPY) | noisy) & (found.match > FITS_UNMOVED))
        odd, differs = images.compare_odd(still, pool)
        pairs, noisy = np.concatenate([pairs[kept], odd]), np.append(noisy[kept], np.zeros(len(odd), bool))
        found = align.joined([found.take(kept), align.unmoved(len(odd))])
        differ, moved = np.append(differ[kept], differs), np.append(moved[kept], np.zeros(len(odd), bool))
        copy, doubtful = moved.copy(), np.flatnonzero(~moved)
        if len(doubtful):
            copy[doubtful] = images.alike_in_middle(pairs[doubtful], found.take(doubtful), pool)
            limit, nearest = _usual_difference(images, pairs[doubtful], differ[doubtful], still, pool)
            limit[doubtful >= kept.sum()] *= OF_ODD
            limit = np.maximum(limit, np.where(noisy[doubtful], NOISY_STANDS_OUT * nearest, 0))
            copy[doubtful] &= differ[doubtful] < limit
    pairs, maps = pairs[copy], found.linear[copy]
    swapped = pairs[:, 0] > pairs[:, 1]
    maps[swapped] = np.linalg.inv(maps[swapped])
    pairs, once = np.unique(np.sort(pairs, axis=1), axis=0, return_index=True)
    return pairs, maps[once], n_crowded


@dataclass(eq=False)
class _Pictures:
    """Grey levels, uint8, and local contrast at 64 x 64, which is kept as `_Detail`."""

    gray: np.ndarray
    detail: _Detail

    def both(self, pairs: np.ndarray) -> np.ndarray:
        """Grey levels of pairs (P, 2): ndarray of shape (2, P, 64, 64), float32."""
        return self.gray[pairs.T].astype(np.float32)

    def compare(
        self, pairs: np.ndarray, start: align.Alignment, pool: ThreadPoolExecutor
    ) -> tuple[np.ndarray, align.Alignment, np.ndarray]:
        """The pairs that fit once they are aligned, how, and how much they differ."""
        if not len(pairs):
            return pairs, start, np.zeros(0)
        parts = _parts(len(pairs), align.BATCH)
        refined = list(pool.map(lambda part: _refine(self.detail, pairs[part], start.take(part)), parts))
        pairs, found = np.concatenate([p for p, _ in refined]), align.joined([f for _, f in refined])

        def differ(part: slice) -> tuple[np.ndarray, np.ndarray]:
            a, b = self.both(pairs[part])
            return align.differences(a, b, found.take(part), ENOUGH, NEAR)

        parts = _parts(len(pairs), align.BATCH)
        least, bent = map(np.concatenate, zip((np.zeros(0), np.zeros(0, bool)), *pool.map(differ, parts), strict=True))
        self._again(pairs, found, least, bent)
        return pairs, found, least

    def compare_odd(self, pairs: np.ndarray, pool: ThreadPoolExecutor) -> tuple[np.ndarray, np.ndarray]:
        """Of pairs that lie over each other as they are, the copies with bent grey levels, writing or a frame, and how
        much they differ. Alignment would be led astray by either."""

        def look(part: slice) -> tuple[np.ndarray, np.ndarray]:
            a, b = self.both(pairs[part])
            i = np.flatnonzero(align.is_odd(a, b))
            differ, _ = align.differences(a[i], b[i], align.unmoved(len(i)), ENOUGH, NEAR)
            return pairs[part][i[differ < COPY]], differ[differ < COPY]

        found = pool.map(look, _parts(len(pairs), align.BATCH))
        odd, differ = zip((np.zeros((0, 2), np.int64), np.zeros(0)), *found, strict=True)
        return np.concatenate(odd), np.concatenate(differ)

    def alike_in_middle(self, pairs: np.ndarray, found: align.Alignment, pool: ThreadPoolExecutor) -> np.ndarray:
        """Whether pairs are as similar without their border: two heads in one frame are not."""

        def look(part: slice) -> np.ndarray:
            a, b = self.both(pairs[part])
            return align.differences(a, b, found.take(part), ENOUGH, NEAR, middle=True)[0] < MIDDLE

        return np.concatenate(list(pool.map(look, _parts(len(pairs), align.BATCH))))

    def differ_in_noise(self, pairs: np.ndarray, differ: np.ndarray) -> np.ndarray:
        """Of which pairs that may be copies one has more noise than the other: ndarray of shape (P,), bool."""
        out, close = np.zeros(len(pairs), bool), np.flatnonzero((differ > ENOUGH) & (differ < COPY_NOISY))
        for part in _parts(len(close), align.BATCH):
            a, b = (align.noise(side) for side in self.both(pairs[close[part]]))
            out[close[part]] = np.maximum(a, b) > np.maximum(NOISIER * np.minimum(a, b), NOISE)
        return out

    def _again(self, pairs: np.ndarray, found: align.Alignment, least: np.ndarray, bent: np.ndarray) -> None:
        """Aligns near misses once more, after their grey levels: a gamma curve shifts edges a little."""
        near = np.flatnonzero((least >= COPY) & (least < NEAR_MISS) & bent)
        for part in _parts(len(near), align.BATCH):
            i = near[part]
            a, b = self.both(pairs[i])
            left = fm.local_contrast(align.regraded(a, b, found.take(i)))
            better = align.refine(left, self.detail[pairs[i, 1]], found.take(i), steps=3)
            value, _ = align.differences(a, b, better, ENOUGH, NEAR)
            won = value < least[i]
            i = i[won]
            least[i], found.linear[i], found.shift[i] = value[won], better.linear[won], better.shift[won]


def _usual_difference(
    images: _Pictures, pairs: np.ndarray, differ: np.ndarray, still: np.ndarray, pool: ThreadPoolExecutor
) -> tuple[np.ndarray, np.ndarray]:
    """How little two images that lie in the same place must differ: much less than either from its next most similar.

    In a dense or smooth stack neighbouring slices are as similar as copies; but there they come in chains.

    Parameters
    ----------
    images : _Pictures
    pairs, differ : ndarray of shape (P, 2) and (P,)
        What might be copies.
    still : ndarray of shape (M, 2)
        Candidates of all images in their own place.

    Returns
    -------
    limit, nearest : ndarray of shape (P,)
        And how much the more similar of the next most similar images differs.
    """
    n = len(images.gray)
    wanted = np.zeros(n, bool)
    wanted[pairs] = True
    wanted[np.random.default_rng(0).permutation(n)[:N_CONTEXT]] = True
    others = still[wanted[still].any(axis=1)]
    others, _, steps = images.compare(others, align.unmoved(len(others)), pool)
    # Of each pair the smallest difference that is known.
    others, steps = np.concatenate([others, np.sort(pairs, axis=1)]), np.append(steps, differ)
    smallest = np.argsort(steps, kind="stable")
    others, once = np.unique(others[smallest], axis=0, return_index=True)
    steps = steps[smallest][once]
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
    return np.maximum(STANDS_OUT * np.minimum(nearest, 0.5), USUAL * ordinary), nearest


def _parts(stop: int, size: int, start: int = 0) -> Iterator[slice]:
    return (slice(i, min(i + size, stop)) for i in range(start, stop, size))


@dataclass(eq=False)
class _Detail:
    """Local contrast of all images in a byte a pixel: a quarter of the memory, rounded by at most .02 of some .5."""

    bytes: np.ndarray

    def __len__(self) -> int:
        return len(self.bytes)

    def __getitem__(self, which: slice | np.ndarray) -> np.ndarray:
        """Of some images, float32."""
        return self.bytes[which] * _DETAIL_STEP


_DETAIL_STEP = np.float32(1 / 32)


def _local_contrast(gray: np.ndarray, pool: ThreadPoolExecutor) -> _Detail:
    kept = np.empty(gray.shape, np.int8)

    def work(part: slice) -> None:
        kept[part] = np.clip(np.rint(fm.local_contrast(gray[part].astype(np.float32)) / _DETAIL_STEP), -127, 127)

    list(pool.map(work, _parts(len(gray), 64)))
    return _Detail(kept)


def _moved_candidates(detail: _Detail, pool: ThreadPoolExecutor) -> tuple[np.ndarray, int, np.ndarray]:
    """Pairs that look alike once one is turned, mirrored, zoomed, cut or stretched (see `_best_of_each`), and what
    `align.low_heights` takes of all images."""
    n = len(detail)
    some = np.unique(np.linspace(0, n - 1, min(n, N_SAMPLE)).astype(int))
    whole = [fm.descriptors(fm.polar_spectra(detail[some[part]])[:, 0]) for part in _parts(len(some), fm.AT_ONCE)]
    mean, directions = _main_directions(np.concatenate(whole), N_DIRECTIONS)

    def described(maps: np.ndarray) -> np.ndarray:
        return _unit(fm.descriptors(maps) - mean) @ directions

    seen = np.empty((n, directions.shape[1]), np.float32)
    turns = np.empty((n, *align.LOW_SHAPE), np.float16)

    def look(part: slice) -> None:
        maps = fm.polar_spectra(detail[part])[:, 0]
        seen[part], turns[part] = described(maps), align.low_transforms(maps)

    list(pool.map(look, _parts(n, fm.AT_ONCE)))
    find = _search_in(seen)

    def alike(block: slice) -> list[np.ndarray]:
        views = np.empty((len(fm.VIEWS), block.stop - block.start, seen.shape[1]), np.float32)

        def describe(part: slice) -> None:
            here = slice(part.start - block.start, part.stop - block.start)
            for view, maps in enumerate(fm.spectra_of_views(detail[part])):
                views[view, here] = described(maps)

        def search(job: tuple[int, slice]) -> np.ndarray:
            view, part = job
            return _most_alike(views[view, part.start - block.start : part.stop - block.start], find, view, part)

        list(pool.map(describe, _parts(block.stop, fm.AT_ONCE, block.start)))
        jobs = [(view, part) for view in range(len(views)) for part in _search_parts(n, block)]
        return list(pool.map(search, jobs))

    rows = [found for block in _parts(n, BLOCK) for found in alike(block)]
    return *_best_of_each(np.concatenate(rows), n), turns


def _unmoved_candidates(detail: _Detail, pool: ThreadPoolExecutor) -> np.ndarray:
    """The images that each image resembles most as it lies, the most similar first: ndarray of shape (N, k), int.

    The last four are those that its upper, middle and lower third resemble most, of which writing spares one, and its
    centre, which a frame spares.
    """
    n = len(detail)
    coarse = np.concatenate(list(pool.map(lambda part: _coarse(detail[part]), _parts(n, 256))))
    some = coarse[np.unique(np.linspace(0, n - 1, min(n, N_SAMPLE)).astype(int))]
    mean, directions = _main_directions(some, N_DIRECTIONS)

    def nearest(rows: np.ndarray, k: int) -> np.ndarray:
        find = _search_in(rows)
        parts = _search_parts(n, slice(0, n))
        found = pool.map(lambda part: find(rows[part], np.arange(part.start, part.stop), k)[0], parts)
        return np.concatenate(list(found))

    whole = nearest(_unit((coarse - mean) @ directions), min(N_UNMOVED, n - 1))
    coarse -= mean
    parts = [nearest(_unit(coarse[:, cells]), 1) for cells in _REGIONS]
    return np.concatenate([whole, *parts], axis=1)


_CELLS = np.arange(256).reshape(16, 16)
_REGIONS = [rows.ravel() for rows in (*np.array_split(_CELLS, 3), _CELLS[4:12, 4:12])]


def _coarse(detail: np.ndarray) -> np.ndarray:
    """Means of 4 x 4 pixels, rows of length 1: ndarray of shape (N, 256), float32."""
    return _unit(align.means(detail, 4).reshape(len(detail), -1))


def _main_directions(rows: np.ndarray, n_directions: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean of some rows, and the directions in which these differ most: (D,) and (D, n_directions)."""
    mean = rows.mean(axis=0)
    centred = _unit(rows - mean)
    _, directions = np.linalg.eigh(centred.T @ centred)
    return mean, np.ascontiguousarray(directions[:, ::-1][:, :n_directions])


Search = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]
"""From descriptors, the images that they are of, and k: the k most similar other images, and their likeness."""


def _search_in(rows: np.ndarray) -> Search:
    if len(rows) > MAX_ALL:
        cells = Cells(rows)
        return lambda queries, own, k: cells.nearest(queries, k, own)

    def find(queries: np.ndarray, own: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        likeness = queries @ rows.T
        i = np.arange(len(queries))
        likeness[i, own] = -2
        others, values = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
        for place in range(k):
            others[:, place] = likeness.argmax(axis=1)
            values[:, place] = likeness[i, others[:, place]]
            likeness[i, others[:, place]] = -2
        return others, values

    return find


def _search_parts(n: int, block: slice) -> Iterator[slice]:
    """Of a block of n images: few, where each is a pass over all cells."""
    return _parts(block.stop, 256 if n <= MAX_ALL else min(BLOCK, n // 2 + 1), block.start)


def _most_alike(queries: np.ndarray, find: Search, view: int, part: slice) -> np.ndarray:
    """Rows (image, other image, view, likeness) for some images in one view."""
    here = np.arange(part.start, part.stop)
    others, values = find(queries, here, 1 if view else 4)
    rows = []
    for other, value in zip(others.T, values.T, strict=True):
        good = value > (VIEW_SIMILAR if view else SIMILAR)
        rows.append(np.stack([here, other, np.full(len(here), view), value], axis=1)[good])
    return np.concatenate(rows)


def _best_of_each(rows: np.ndarray, n: int) -> tuple[np.ndarray, int]:
    """Of rows (a, b, view, likeness) the best for each pair, and of those the best few for either of its images.

    Returns
    -------
    rows : ndarray of shape (R, 4), int
        (a, b, view, whether the first choice of either).
    n_crowded : int
        Images that resemble more others than these few.
    """
    rows = rows[np.argsort(-rows[:, 3], kind="stable")]
    a, b = rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64)
    _, best = np.unique(np.minimum(a, b) * n + np.maximum(a, b), return_index=True)
    rows = rows[np.sort(best)].astype(np.int64)
    taken = [0] * n
    rank = np.empty(len(rows), np.int64)
    for part in _parts(len(rows), 65536):  # as lists, numbers take ten times their memory
        for i, (a, b) in enumerate(rows[part, :2].tolist(), part.start):
            rank[i] = min(taken[a], taken[b])
            taken[a] += 1
            taken[b] += 1
    rows[:, 3] = rank == 0
    few = rank < N_CANDIDATES
    return rows[few], len(np.unique(rows[~few, 0]))


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-12)


def _start(
    detail: _Detail, turns: np.ndarray, rows: np.ndarray, nearest: np.ndarray, pool: ThreadPoolExecutor
) -> tuple[np.ndarray, align.Alignment]:
    """All pairs to compare, and how they might lie over each other: as they are, or after a move."""
    parts = list(_parts(len(rows), align.BATCH))
    lie = np.concatenate([np.zeros(0, bool), *pool.map(lambda part: _lie_over(detail, rows[part]), parts)])
    first = rows[lie & (rows[:, 3] > 0), :2]
    unmoved = np.stack([np.arange(len(nearest)), nearest], axis=1)
    pairs = [_each_once(np.concatenate([unmoved, first]))]
    start = [align.unmoved(len(pairs[0]))]
    rows = rows[~lie]
    rows = rows[np.argsort(rows[:, 2], kind="stable")]  # those of one view are transformed together
    parts = list(_parts(len(rows), align.BATCH))
    alike = pool.map(lambda part: _alike_turned(detail, turns, rows[part]), parts)
    rows = rows[np.concatenate([np.zeros(0, bool), *alike])]
    for found, how in pool.map(lambda part: _align(detail, rows[part]), _parts(len(rows), align.BATCH)):
        pairs.append(found)
        start.append(how)
    return np.concatenate(pairs), align.joined(start)


def _each_once(pairs: np.ndarray) -> np.ndarray:
    """Pairs of images, the smaller first, each of them once: ndarray of shape (P, 2), int."""
    return np.unique(np.sort(pairs, axis=1), axis=0)


def _lie_over(detail: _Detail, rows: np.ndarray) -> np.ndarray:
    """Which candidates lie over each other as they are: ndarray of shape (P,), bool."""
    return _correlation(*(detail[i] for i in rows[:, :2].T)) > LIES_OVER


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of two stacks of pictures, as they lie: ndarray of shape (P,)."""
    product, squares = np.einsum("pyx,pyx->p", a, b), [np.einsum("pyx,pyx->p", i, i) for i in (a, b)]
    return product / np.sqrt(squares[0] * squares[1] + 1e-12)


def _alike_turned(detail: _Detail, turns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Which candidates may fit over each other, at a first look: ndarray of shape (P,), bool."""
    a, b, view, _ = rows.T
    left = turns[a].astype(np.float32)
    for v in np.unique(view[view > 0]):
        i = np.flatnonzero(view == v)
        left[i] = align.low_transforms(fm.polar_spectra(detail[a[i]], [v])[:, 0])
    return align.low_heights(left, turns[b].astype(np.float32)) > COARSE_PEAK


def _align(detail: _Detail, rows: np.ndarray) -> tuple[np.ndarray, align.Alignment]:
    """The candidates that fit over each other once one of them is moved, and how."""
    a, b, view, first_choice = rows.T
    left, right = detail[a], detail[b]
    spectra = np.empty((len(view), fm.N_RINGS, fm.N_ANGLES), np.float32)
    for v in np.unique(view):
        spectra[view == v] = fm.polar_spectra(left[view == v], [v])[:, 0]
    heights, maps = align.rotations(*(align.polar_transforms(x) for x in (spectra, fm.polar_spectra(right)[:, 0])))
    best, i = heights.argmax(axis=0), np.arange(len(view))
    unmoved = np.abs(maps[0] - np.eye(2)).max(axis=(1, 2)) < UNMOVED
    unmoved &= (best == 0) & (view == 0)
    # Neighbouring slices need not be turned or zoomed, and come often. What sets a copy apart from them: it is the
    # first choice, or it is shifted.
    apart = (first_choice > 0) | (_correlation(left, right) < ELSEWHERE)
    worth = np.where(unmoved, apart & (heights[0] > PEAK_UNMOVED), heights.max(axis=0) > PEAK)
    maps = maps @ np.stack([fm.VIEWS[v].linear for v in view])
    # A head is nearly its own mirror image: where the spectra leave it open, both are tried.
    tries = [(np.flatnonzero(worth), best)]
    tries.append((np.flatnonzero(worth & (heights.min(axis=0) > 0.93 * heights.max(axis=0))), 1 - best))
    found = align.Alignment(maps[best, i], np.zeros((len(i), 2)), np.zeros(len(i)))
    for j, which in tries:
        if len(j):
            other = align.shifts(left[j], right[j], maps[which[j], j])
            better = other.match > found.match[j]
            j = j[better]
            found.linear[j], found.shift[j], found.match[j] = (
                other.linear[better],
                other.shift[better],
                other.match[better],
            )
    kept = np.flatnonzero(found.match > FITS)
    return rows[kept, :2], found.take(kept)


def _refine(detail: _Detail, pairs: np.ndarray, start: align.Alignment) -> tuple[np.ndarray, align.Alignment]:
    """The pairs that fit well once they are aligned, and how; two steps tell which are worth the others."""
    for steps, fit in ((2, 0.78), (4, 0.88)):
        a, b = detail[pairs.T]
        start = align.refine(a, b, start, steps=steps)
        good = start.match > fit
        pairs, start = pairs[good], start.take(good)
    return pairs, start
