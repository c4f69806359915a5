"""The sections of the configuration about data: how it is read, and how it is split."""

from __future__ import annotations

from dataclasses import dataclass

from .._shared import (
    MAX_SEED,
    By,
    Channels,
    Fit,
    OnError,
)
from ._options import option


@dataclass(repr=False, eq=False)
class ReadingOptions:
    """Which images, what they show, and who is in them."""

    path: str = option("", "folder of images, or a .csv or .parquet file", group="data")
    task: str | None = option(None, "join classes: 4class, 3class or cdr0 (rating 0 against above 0)", group="data")
    merge: tuple[str, ...] | None = option(
        None, "join classes under a new name: Mild,Moderate=Dementia (several times if need be)", group="data"
    )
    class_order: tuple[str, ...] | None = option(
        None, "the classes in order of severity, after joining (none: known scales, else by name)", group="data"
    )
    image_size: int | None = option(
        None, "resize images to this many pixels a side (none: as they are)", group="data", at_least=32
    )
    fit: Fit = option(
        "pad",
        "images that are not square: pad with black, crop to the centre, or stretch, when they are resized",
        group="data",
    )
    channels: Channels = option(1, "1 reads gray, 3 reads RGB", group="data")
    intensity: tuple[str, ...] | None = option(
        None,
        "the values that become black and white: full, percentile (1 to 99 of each image), or two numbers (none: full "
        "for 8 bits, the depth in use for 16)",
        group="data",
    )
    groups: str | None = option(
        None,
        "subjects: table.csv:column, or a regular expression with one group over file names (none: as OASIS, ADNI and "
        "BIDS name files)",
        group="data",
    )
    labels: str | None = option(
        None,
        "classes by a table.csv:column, or a pattern with one group over file names, instead of folders",
        group="data",
    )
    layout: str | None = option(
        None, "what each level of folders is: part/class, class/subject, ... (none: by their structure)", group="data"
    )
    max_pixels: int | None = option(
        None, "pixels that an image may have before it is resized (none: 2**24)", group="data", at_least=1
    )
    errors: OnError = option(
        "raise",
        "files that cannot be read: stop and name them, or warn and leave them out",
        group="data",
    )


@dataclass(repr=False, eq=False)
class DataOptions(ReadingOptions):
    """Which images, who is in them, and how they are split.

    Examples
    --------
    >>> ds = DataOptions(path="Dataset/", groups="subjects.csv:subject")
    >>> ds.split
    (0.7, 0.15, 0.15)
    """

    cache: str | None = option(
        None,
        "folder that keeps the decoded images, made if it is not there: for more images than fit into memory, and to "
        "open them at once",
        group="data",
    )
    unlabelled: bool = option(False, "use all images below the folder, without labels or a split", group="data")
    by: By = option(
        "subject",
        "split by subject, or by image (which lets subjects leak into the test set)",
        group="data",
    )
    split_seed: int = option(42, "seed of the split", group="data", at_least=0, at_most=MAX_SEED)
    split: tuple[float, ...] = option(
        (0.7, 0.15, 0.15),
        "shares of training, validation and test set (two numbers: no validation); given: the parts that the folders "
        "or the table name",
        group="data",
        at_least=0,
        at_most=1,
        words=("given",),
    )
    folds: int = option(
        1,
        "cut into this many folds for cross-validation instead of holding out one test set (what a fold does not test "
        "is divided as --split says)",
        group="data",
        at_least=1,
    )
    fold: int = option(0, "which of the folds is tested, from 0", group="data", at_least=0)
