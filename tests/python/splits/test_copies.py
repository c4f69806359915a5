"""The search for copies: descriptors that ignore the move, alignment that finds it, and the comparison that decides."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from reference import fourier_mellin as ref
from simclr_mri.datasets import AlzheimerMRI, phantoms
from simclr_mri.splits import _alignment as align
from simclr_mri.splits import _fourier_mellin as fm
from simclr_mri.splits import find_copies
from simclr_mri.splits._copies import CONTROLS, describe_map

N = 128


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return phantoms(seed=4, n_subjects=40, slices=1, image_size=N).images[..., 0]


def moved(image: np.ndarray, linear: np.ndarray, shift: tuple[float, float] = (0, 0), fill: int = 0) -> np.ndarray:
    inverse, c = np.linalg.inv(linear), (N - 1) / 2
    offset = c - inverse @ (c + np.array(shift))
    return grey(ndimage.affine_transform(image.astype(float), inverse, offset, order=1, cval=fill))


def grey(image: np.ndarray) -> np.ndarray:
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return np.array(Image.open(stream))


def resized(image: np.ndarray, size: int) -> np.ndarray:
    return np.array(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))


def padded(image: np.ndarray) -> np.ndarray:
    return np.pad(resized(image, 104), 12, constant_values=90)


def framed(image: np.ndarray) -> np.ndarray:
    return np.pad(image[8:-8, 8:-8], 8, constant_values=200)


def written(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A white bar with black marks over a tenth of the picture."""
    out, y = image.copy(), rng.integers(0, N - 16)
    out[y : y + 16, 16:112] = 255 * (rng.random((16, 96)) < 0.7)
    return out


EDITS = {
    "turned": lambda i, r: moved(i, fm.rotation(r.uniform(-180, 180))),
    "quarter turn": lambda i, r: np.rot90(i, r.integers(1, 4)),
    "mirrored": lambda i, r: i[:, ::-1],
    "flipped": lambda i, r: i[::-1],
    "zoomed": lambda i, r: moved(i, fm.rotation(0, r.choice([0.8, 1.2]))),
    "shifted": lambda i, r: moved(i, np.eye(2), tuple(r.uniform(-8, 8, 2))),
    "cropped": lambda i, r: resized(i[10:113, 18:121], N),
    "padded": lambda i, r: padded(i),
    "stretched": lambda i, r: moved(i, np.diag([1.08, 0.94])),
    "brightness": lambda i, r: grey(i * 1.3),
    "contrast": lambda i, r: grey(0.6 * i + 30),
    "gamma": lambda i, r: grey(255 * (i / 255) ** 0.7),
    "inverted": lambda i, r: 255 - i,
    "blurred": lambda i, r: grey(ndimage.gaussian_filter(i.astype(float), 1)),
    "jpeg": lambda i, r: jpeg(i, 50),
    "resized": lambda i, r: resized(resized(i, 80), N),
    "noisy": lambda i, r: grey(i + r.normal(0, 20, i.shape)),
    "framed": lambda i, r: framed(i),
    "written": lambda i, r: written(i, r),
    "several": lambda i, r: jpeg(grey(moved(i[:, ::-1], fm.rotation(35, 1.1)) * 0.9), 60),
}


def test_edited_copies_are_found_and_nothing_else(images: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    source = np.arange(len(EDITS) * 2) % len(images)
    copies = np.stack(
        [
            edit(images[source[i + k]], rng)
            for i, edit in zip(range(0, 99, 2), EDITS.values(), strict=False)
            for k in (0, 1)
        ]
    )
    kinds = np.repeat(list(EDITS), 2)
    found = find_copies(images[..., None], copies[..., None], controls=0)
    origin = np.concatenate([np.arange(len(images)), source])
    assert all(origin[a] == origin[b] for a, b in found.pairs), "a pair that is no copy"
    seen = np.isin(np.arange(len(copies)) + len(images), found.pairs)
    assert seen.mean() >= 0.94, f"missed: {sorted(set(kinds[~seen]))}"


def test_nothing_is_found_in_a_set_without_copies(images: np.ndarray) -> None:
    found = find_copies(images[..., None], controls=24)
    assert len(found) == 0 and found.n_controls == 24 and found.n_controls_found >= 20
    assert found.power() == f"{found.n_controls_found} of 24 planted copies found"
    names, planted, seen = zip(*found.controls, strict=True)
    assert names == CONTROLS and sum(planted) == 24 and min(planted) >= 4 and sum(seen) == found.n_controls_found
    some = replace(found, controls=(("shifted", 5, 5), ("noise", 4, 2)))
    assert some.missed() == "noise 2 of 4" and not replace(found, controls=()).missed()
    stack = phantoms(seed=1, n_subjects=12, slices=14, image_size=64).images  # neighbours as similar as copies
    assert len(find_copies(stack, controls=0)) == 0


def test_neighbouring_slices_do_not_hide_copies() -> None:
    """Slices next to the original resemble a copy that is shifted, written on or framed more than the original does."""
    stack = phantoms(seed=6, n_subjects=8, slices=9, image_size=N).images[..., 0]
    rng, source = np.random.default_rng(1), np.arange(1, len(stack), 4)
    for edit in (lambda i: moved(i, np.eye(2), (12, -6)), lambda i: written(i, rng), framed):
        copies = np.stack([edit(stack[i]) for i in source])
        found = find_copies(stack[..., None], copies[..., None], controls=0)
        assert found.pairs.tolist() == [[i, len(stack) + k] for k, i in enumerate(source)]


def test_equal_and_blank_pictures(images: np.ndarray) -> None:
    found = find_copies(np.concatenate([images[:4], images[1:2]])[..., None])
    assert found.pairs.tolist() == [[1, 4]] and found.equal.all() and found.edit(0) == "equal pixels"
    blank = np.zeros((3, 32, 32, 1), np.uint8)
    blank[:, 0, 0, 0] = range(3)
    for few in (blank, blank[:1], blank[:0], np.repeat(images[:2, ..., None], 3, axis=3)):
        assert len(find_copies(few)) == 0
    noise = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 1), dtype=np.uint8)  # no candidates at all
    assert len(find_copies(noise, controls=0)) == 0
    assert find_copies(images[:3, ..., None], np.zeros((0, 16, 16, 1), np.uint8)).n_images == 3


@pytest.mark.parametrize("degrees", [-150, -20, 0.5, 7, 90])
def test_alignment_recovers_a_known_map(images: np.ndarray, degrees: float) -> None:
    for linear in (fm.rotation(degrees, 1.15), fm.rotation(degrees, 0.9) @ np.diag([1, -1])):
        other = moved(images[0], linear, (4, -6))
        a, b = (fm.local_contrast(fm.shrink(i[None, ..., None])) for i in (images[0], other))
        heights, maps = align.rotations(*(align.polar_transforms(fm.polar_spectra(i)[:, 0]) for i in (a, b)))
        found = align.refine(a, b, align.shifts(a, b, maps[heights.argmax(), [0]]))
        assert np.abs(found.linear[0] - linear).max() < 0.01
        assert np.abs(found.shift[0] - (2, -3)).max() < 0.15  # at half the size
        assert found.match > 0.9


def test_descriptors_are_those_of_the_definition(images: np.ndarray) -> None:
    detail = fm.local_contrast(fm.shrink(images[:3, ..., None]))
    rings = np.geomspace(fm.LOWEST, fm.HIGHEST, fm.N_RINGS)
    for view, maps in zip(fm.VIEWS, fm.spectra_of_views(detail), strict=True):
        expected = ref.polar_spectrum(detail[2].astype(float), view.linear, view.shift, rings, fm.N_ANGLES, 96)
        assert np.abs(maps[2] - expected).max() < 2e-3
        assert np.abs(fm.descriptors(maps)[2] - ref.descriptor(expected, fm.ANGULAR)).max() < 2e-4
    whole, corner = (fm.polar_spectra(detail, [view])[:, 0] for view in (0, 5))
    assert np.array_equal(whole, next(fm.spectra_of_views(detail))) and corner.shape == whole.shape


def test_first_look_is_a_correlation_at_low_frequencies(images: np.ndarray) -> None:
    maps = fm.polar_spectra(fm.local_contrast(fm.shrink(images[:8, ..., None])))[:, 0]
    a, b = maps[:4], maps[4:]
    heights = align.low_heights(*(align.low_transforms(side) for side in (a, b)))
    for k in range(4):
        sides = [m[k].astype(float) - m[k].mean(axis=1, keepdims=True, dtype=float) for m in (a, b)]
        x, y = (np.fft.fft2(side / np.linalg.norm(side), s=(72, 64)) for side in sides)
        low = [np.arange(-12, 13)[:, None], np.r_[-12:0, 1:13]]
        shift = [np.exp(2j * np.pi * np.outer(np.arange(-14, 15, 2), low[0].ravel()) / 72)]
        shift.append(np.exp(2j * np.pi * np.outer(low[1], np.arange(40)) / 40))
        expected = [
            (shift[0] @ (left[sign * low[0], low[1]] * y[low[0], low[1]]) @ shift[1]).real.max() / (72 * 64)
            for left, sign in ((x.conj(), 1), (x, -1))
        ]
        assert heights[k] == pytest.approx(max(expected), abs=2e-5)
    turned = np.roll(maps, 16, axis=2)
    assert align.low_heights(align.low_transforms(maps), align.low_transforms(turned)).min() > 0.6


def test_ring_correlation_is_that_of_the_definition() -> None:
    rng = np.random.default_rng(1)
    a = ndimage.gaussian_filter(rng.normal(100, 60, (1, 64, 64)), (0, 1, 1)).astype(np.float32)
    b = (a + rng.normal(0, 8, a.shape)).astype(np.float32)
    weight = np.ones_like(a)
    ring = np.round(np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)) * 64)
    lost = []
    for low, high in align.BANDS:
        cross = norm = 0.0
        for r in range(low, high):
            x, y = (np.fft.fft2(i[0].astype(float) - smooth(i[0]))[ring == r] for i in (a, b))
            cross += (x * y.conj()).real.sum()
            norm += np.sqrt((np.abs(x) ** 2).sum() * (np.abs(y) ** 2).sum())
        lost.append(1 - cross / norm)
    assert align._difference(a, b, weight)[0] == pytest.approx(np.mean(lost / align.NEIGHBOUR), rel=0.05)


def smooth(image: np.ndarray) -> np.ndarray:
    blur = fm.blur_matrix(64, 4.0)
    return blur @ image.astype(float) @ blur.T


def test_noise_is_measured(images: np.ndarray) -> None:
    gray = fm.shrink(images[:4, ..., None])
    noise = np.random.default_rng(3).normal(0, 10, gray.shape)
    assert align.noise(noise.astype(np.float32)) == pytest.approx(10, rel=0.05)
    before, after = align.noise(gray), align.noise(gray + noise.astype(np.float32))
    assert after == pytest.approx(np.hypot(before, 10), rel=0.1)


def test_maps_in_words() -> None:
    said = {
        "turned by 20 degrees": fm.rotation(20),
        "mirrored": np.diag([1.0, -1.0]),
        "flipped": np.diag([-1.0, 1.0]),
        "zoomed to 120%": 1.2 * np.eye(2),
        "mirrored, turned by 30 degrees, zoomed to 90%": fm.rotation(30, 0.9) @ np.diag([1.0, -1.0]),
        "same place, other grey levels or encoding": np.eye(2),
    }
    assert {describe_map(linear): linear for linear in said.values()}.keys() == said.keys()


def test_real_slices(real_data: Path) -> None:
    images = AlzheimerMRI(real_data / "alzheimer_mri_128").images[::5]
    rng = np.random.default_rng(2)
    kinds = list(EDITS)
    copies = np.stack([EDITS[k](images[37 * i, ..., 0], rng) for i, k in enumerate(kinds)])
    found = find_copies(images, copies[..., None], controls=0)
    assert {tuple(p) for p in found.pairs.tolist()} == {(37 * i, len(images) + i) for i in range(len(kinds))}
