"""How surely the audit finds edited copies: recall by kind and strength of the edit, false alarms, and seconds.

    python tests/bench/bench_copies.py ../shared/data/alzheimer_mri_128            # the subjects that are reported
    python tests/bench/bench_copies.py ../shared/data/alzheimer_mri_128 --tuning   # those that thresholds were set on

Every third subject, in the order of their names, is for tuning. Each edit is made of as many other images as there are
for it, each image is edited once, and all are searched together. Below the table: pairs that are no copies, and what
the search of the data set as it is finds and costs. The last must be zero.
"""

from __future__ import annotations

import argparse
import io
import os
import time
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy import ndimage

from simclr_mri.datasets import open_dataset
from simclr_mri.splits import find_copies

Edit = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def grey(image: np.ndarray) -> np.ndarray:
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def moved(image: np.ndarray, linear: np.ndarray, shift: tuple[float, ...] = (0, 0)) -> np.ndarray:
    inverse, centre = np.linalg.inv(linear), (len(image) - 1) / 2
    offset = centre - inverse @ (centre + np.array(shift))
    return grey(ndimage.affine_transform(image.astype(float), inverse, offset, order=1))


def turn(degrees: float, zoom: float = 1.0) -> np.ndarray:
    a = np.deg2rad(degrees)
    return zoom * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])


def turned(degrees: float) -> Edit:
    return lambda image, rng: moved(image, turn(degrees * rng.choice([-1, 1])))


def zoomed(by: float) -> Edit:
    return lambda image, rng: moved(image, turn(0, by))


def shifted(pixels: float) -> Edit:
    """By so many pixels at 128 x 128, in a random direction."""

    def edit(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        a = rng.uniform(0, 2 * np.pi)
        return moved(image, np.eye(2), tuple(pixels * len(image) / 128 * np.array([np.sin(a), np.cos(a)])))

    return edit


def stretched(by: float) -> Edit:
    def edit(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        way = turn(rng.uniform(0, 180))
        return moved(image, way @ np.diag([by, 1.0]) @ way.T)

    return edit


def cropped(share: float) -> Edit:
    def edit(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        n = len(image)
        side = round(share * n)
        y, x = rng.integers(0, n - side + 1, 2)
        return resized(image[y : y + side, x : x + side], n)

    return edit


def resized(image: np.ndarray, size: int) -> np.ndarray:
    return np.array(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))


def halved(factor: int) -> Edit:
    return lambda image, rng: resized(resized(image, len(image) // factor), len(image))


def padded(share: float) -> Edit:
    def edit(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        n = len(image)
        small = resized(image, round(share * n))
        before = (n - len(small)) // 2
        return np.pad(small, (before, n - len(small) - before), constant_values=int(rng.choice([0, 128])))

    return edit


def noisy(sigma: float) -> Edit:
    return lambda image, rng: grey(image + rng.normal(0, sigma, image.shape))


def blurred(sigma: float) -> Edit:
    return lambda image, rng: grey(ndimage.gaussian_filter(image.astype(float), sigma * len(image) / 128))


def encoded(quality: int) -> Edit:
    def edit(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "JPEG", quality=quality)
        return np.array(Image.open(stream))

    return edit


def greys(change: Callable[[np.ndarray], np.ndarray]) -> Edit:
    return lambda image, rng: grey(change(image.astype(float)))


def written(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A white bar with black marks over a tenth of the picture."""
    out, n = image.copy(), len(image)
    high, wide = n // 8, 3 * n // 4
    y, x = rng.integers(0, n - high), rng.integers(0, n - wide)
    out[y : y + high, x : x + wide] = 255
    out[y : y + high, x : x + wide][rng.random((high, wide)) < 0.3] = 0
    return out


def several(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    out = moved(image[:, ::-1], turn(rng.uniform(-30, 30), rng.uniform(0.9, 1.15)))
    return encoded(60)(grey(rng.uniform(0.8, 1.2) * out + rng.normal(0, 4, out.shape)), rng)


def elastic(pixels: float) -> Edit:
    """A smooth random field that moves each pixel, by so many of 128 as a standard deviation."""

    def edit(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        n = len(image)
        field = ndimage.gaussian_filter(rng.normal(size=(2, n, n)), (0, n / 8, n / 8), mode="reflect")
        field *= pixels * n / 128 / field.std()
        return grey(ndimage.map_coordinates(image.astype(float), np.mgrid[:n, :n] + field, order=1))

    return edit


def bordered(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A frame of one grey level over the outermost pixels."""
    out, wide = image.copy(), len(image) // 16
    level = rng.integers(0, 256)
    out[:wide], out[-wide:], out[:, :wide], out[:, -wide:] = level, level, level, level
    return out


def of_two(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Beside its own mirror image, each at half the width and height, on black."""
    n = len(image)
    half = resized(image, n // 2)
    return np.pad(np.concatenate([half, half[:, ::-1]], axis=1), ((n // 4, n - n // 2 - n // 4), (0, n % 2)))


def in_turn(*edits: Edit) -> Edit:
    """One edit after the other."""

    def edit(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        for each in edits:
            image = each(image, rng)
        return image

    return edit


def turned_anyhow(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return moved(image, turn(rng.uniform(-180, 180)))


def letterboxed(ratio: float) -> Edit:
    """Bars above and below, then squeezed into a square again."""

    def edit(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        n = len(image)
        bar = round((ratio - 1) / 2 * n)
        return resized(np.pad(image, ((bar, bar), (0, 0))), n)

    return edit


def turned_and_flipped(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.rot90(image[::-1], rng.integers(1, 4))


EDITS: dict[str, dict[str, Edit]] = {
    "rotation, degrees": {f"{d}": turned(d) for d in (2, 5, 20, 45, 137)} | {"90": lambda i, r: np.rot90(i)},
    "mirror, flip": {
        "mirror": lambda i, r: i[:, ::-1],
        "flip": lambda i, r: i[::-1],
        "both": lambda i, r: i[::-1, ::-1],
    },
    "zoom": {f"{z}": zoomed(z) for z in (0.75, 0.9, 1.1, 1.25, 1.4)},
    "crop, share of a side": {f"{s}": cropped(s) for s in (0.95, 0.9, 0.8)},
    "padding, share of a side": {"0.8": padded(0.8)},
    "shift, px of 128": {f"{p}": shifted(p) for p in (0.5, 2, 6, 10, 14)},
    "stretch": {f"{s}": stretched(s) for s in (1.03, 1.06, 1.1)},
    "brightness": {f"x {b}": greys(lambda i, b=b: i * b) for b in (0.6, 0.8, 1.2, 1.5)},
    "contrast": {f"x {c}": greys(lambda i, c=c: c * (i - 80) + 80) for c in (0.5, 0.7, 1.3)},
    "gamma": {f"{g}": greys(lambda i, g=g: 255 * (i / 255) ** g) for g in (0.5, 0.7, 1.4, 2)},
    "inverted": {"": greys(lambda i: 255 - i)},
    "noise, grey levels": {f"{s}": noisy(s) for s in (5, 10, 15, 20)},
    "blur, px of 128": {f"{s}": blurred(s) for s in (0.7, 1, 1.5, 2)},
    "JPEG quality": {f"{q}": encoded(q) for q in (75, 50, 20, 10)},
    "smaller and back": {"1/2": halved(2), "1/3": halved(3)},
    "writing over a tenth": {"": written},
    "mirror, turn, zoom, grey, JPEG": {"": several},
    "flip and quarter turns": {"": turned_and_flipped},
    "two edits": {
        "turned, mirrored": in_turn(lambda i, r: i[:, ::-1], turned_anyhow),
        "zoomed by 1.2, x 0.6": in_turn(zoomed(1.2), greys(lambda i: 0.6 * i)),
        "zoomed by 0.8, blurred": in_turn(zoomed(0.8), blurred(1)),
        "cropped to 0.85, JPEG 40": in_turn(cropped(0.85), encoded(40)),
        "turned, noise of 10": in_turn(turned_anyhow, noisy(10)),
        "turned, inverted": in_turn(turned_anyhow, greys(lambda i: 255 - i)),
        "turned, gamma 0.6": in_turn(turned_anyhow, greys(lambda i: 255 * (i / 255) ** 0.6)),
        "flipped, gamma 1.6": in_turn(lambda i, r: i[::-1], greys(lambda i: 255 * (i / 255) ** 1.6)),
        "turned by 7, JPEG 30": in_turn(turned(7), encoded(30)),
        "shifted by 8, contrast 0.6": in_turn(shifted(8), greys(lambda i: 0.6 * (i - 80) + 80)),
        "padded to 0.8, mirrored": in_turn(padded(0.8), lambda i, r: i[:, ::-1]),
        "inverted, JPEG 40": in_turn(greys(lambda i: 255 - i), encoded(40)),
    },
    "letterboxed": {f"{r}": letterboxed(r) for r in (1.1, 1.2, 1.33)},
    "blur and JPEG 20": {"": lambda i, r: encoded(20)(blurred(1)(i, r), r)},
    "border of a sixteenth": {"": bordered},
    "beside its mirror image": {"": of_two},
    "elastic, px of 128": {f"{p}": elastic(p) for p in (0.5, 1, 2)},
}


def edited_copies(
    images: np.ndarray, seed: int, only: str = ""
) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Names of the edits, of which `only` is a part; copies of some images; of which each is a copy, by which edit."""
    rng = np.random.default_rng(seed)
    by_name = {f"{kind}: {strength}": edit for kind, by in EDITS.items() for strength, edit in by.items()}
    names = [name for name in by_name if only in name]
    edits = [by_name[name] for name in names]
    each = len(images) // len(edits)
    source = rng.permutation(len(images))[: each * len(edits)]
    which = np.repeat(np.arange(len(edits)), each)
    copies = np.stack([edits[k](images[i, ..., 0], rng) for i, k in zip(source, which, strict=True)])
    return names, copies[..., None], source, which


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--tuning", action="store_true", help="the subjects that thresholds were set on")
    parser.add_argument("--limit", type=int, help="use so many subjects only")
    parser.add_argument("--only", default="", help="kinds of edits whose name has this in it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--edits-only", action="store_true", help="leave out the search of the data set as it is")
    parser.add_argument("--save", help="write what was missed to this .npz")
    args = parser.parse_args()
    ds = open_dataset(args.data)
    every = np.unique(ds.subjects)
    tuning = np.arange(len(every)) % 3 == 0
    chosen = every[tuning == args.tuning][: args.limit]
    images = ds.images[np.isin(ds.subjects, chosen)]
    names, copies, source, which = edited_copies(images, args.seed, args.only)
    found = find_copies(images, copies, controls=0)
    n = len(images)
    original = np.concatenate([np.arange(n), source])
    wrong = original[found.pairs[:, 0]] != original[found.pairs[:, 1]]
    seen = np.isin(n + np.arange(len(copies)), found.pairs[~wrong])
    print(
        f"{len(chosen)} subjects, {n:,} images, {(which == 0).sum()} copies of each kind; {os.cpu_count()} processors"
    )
    print(f"{'edit':42} found of {(which == 0).sum()}   share")
    for k, name in enumerate(names):
        mine = seen[which == k]
        print(f"{name:42} {mine.sum():8d} {mine.mean():10.1%}")
    print(f"all {seen.mean():.2%}; {wrong.sum()} wrong pairs of {len(found.pairs):,}")
    for a, b in found.pairs[wrong].tolist():
        print("wrong:", *(f"image {i}" if i < n else f"{names[which[i - n]]} of {source[i - n]}" for i in (a, b)))
    if args.save:
        np.savez(args.save, seen=seen, which=which, source=source, pairs=found.pairs, wrong=wrong)
    if args.edits_only:
        return
    start, cpu = time.perf_counter(), time.process_time()
    plain = find_copies(ds.images)
    seconds = f"{time.perf_counter() - start:.1f} s, {time.process_time() - cpu:.1f} s of processor time"
    print(f"all {len(ds):,} images as they are: {len(plain)} pairs, {seconds}; {plain.power()}")
    print(f"{plain.n_crowded:,} images resemble more others than each is compared with; {plain.missed()}")


if __name__ == "__main__":
    main()
