"""What lies under a folder: every file is found and told apart by kind, so that what is not read can be counted.

The kind follows from the ending where that is known, and from the first bytes where it is not: DICOM exports often have
no ending. Links to folders are followed; one that leads back to a folder above itself is noticed. Files and folders
whose names start with "." or "_" are passed over, but for the tables that Roboflow calls so.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .._shared import natural_key

EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png")
"""Endings that the core's own decoders read."""

PILLOW_EXTENSIONS = (
    *(".bmp", ".dib", ".tif", ".tiff", ".gif", ".webp", ".jp2", ".j2k", ".jpx", ".pgm", ".ppm", ".pbm", ".pnm"),
    *(".tga", ".pcx", ".sgi", ".avif", ".icns", ".ico"),
)
VOLUME_EXTENSIONS = (".nii", ".nii.gz", ".mgz", ".mgh", ".hdr")
DICOM_EXTENSIONS = (".dcm", ".dicom", ".ima")
TABLE_EXTENSIONS = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".jsonl", ".ndjson")
# Tables too if they were asked for, or if their rows name pictures.
TEXT_EXTENSIONS = (".txt", ".json")
PARQUET_EXTENSIONS = (".parquet",)
ARRAY_EXTENSIONS = (".npz", ".npy", ".mat", ".h5", ".hdf5")
ROBOFLOW = ("_classes.csv", "_annotations.csv", "_annotations.coco.json")
# What accompanies a data set: counted, but no reason to warn.
COMPANIONS = (
    *TABLE_EXTENSIONS,
    *(".txt", ".md", ".rst", ".json", ".xml", ".html", ".pdf", ".py", ".ipynb", ".yaml", ".yml"),
    *(
        ".toml",
        ".db",
        ".ini",
        ".log",
        ".xlsx",
        ".xls",
        ".docx",
        ".bval",
        ".bvec",
        ".sha256",
        ".md5",
        ".license",
        ".cff",
    ),
)
BY_ENDING = {
    **dict.fromkeys(EXTENSIONS, "picture"),
    **dict.fromkeys(PILLOW_EXTENSIONS, "pillow"),
    **dict.fromkeys(VOLUME_EXTENSIONS, "volume"),
    **dict.fromkeys(DICOM_EXTENSIONS, "dicom"),
    **dict.fromkeys(TABLE_EXTENSIONS, "table"),
    **dict.fromkeys(PARQUET_EXTENSIONS, "parquet"),
}


@dataclass
class Listing:
    """The files under a folder, relative to it with "/" between names, in natural order.

    Attributes
    ----------
    root : Path
    files : dict of str to list of str
        By kind: "picture" (JPEG, PNG), "pillow" (TIFF, BMP and others), "volume", "dicom", "table", "parquet".
    folders : list of str
        All that are not passed over.
    others : dict of str to str
        What cannot be read, and why.
    notes : list of str
        What else there is to say, such as links to folders that are read twice.
    """

    root: Path
    files: dict[str, list[str]] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    others: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def pictures(self) -> list[str]:
        """Files of single pictures."""
        return sorted([*self.files.get("picture", ()), *self.files.get("pillow", ())], key=natural_key)

    @property
    def volumes(self) -> list[str]:
        """Files of volumes or of slices that know where they lie."""
        return sorted([*self.files.get("volume", ()), *self.files.get("dicom", ())], key=natural_key)


def ending(name: str) -> str:
    """The ending in lower case; `.nii.gz` is one."""
    lower = name.lower()
    for double in (".nii.gz", ".csv.gz", ".tsv.gz", ".tar.gz", ".tar.xz", ".tar.bz2"):
        if lower.endswith(double):
            return double
    return os.path.splitext(lower)[1]


def sniff(path: str | Path) -> str:
    """The kind of a file by its first bytes; "other" if they say nothing."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(352)
    except OSError:
        return "other"
    if head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")):
        return "picture"
    pillow = (b"II*\0", b"MM\0*", b"GIF8", b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51", b"P5\n", b"P6\n")
    if head.startswith(pillow) or (head.startswith(b"RIFF") and head[8:12] == b"WEBP"):
        return "pillow"
    if head.startswith(b"BM") and head[6:10] == bytes(4):
        return "pillow"
    if head[128:132] == b"DICM":
        return "dicom"
    return "volume" if head[344:348] in (b"n+1\0", b"ni1\0") else "other"


def what_else(path: str | Path) -> str | None:
    """What stands in the place of a picture: a pointer of Git LFS, a web page; None if that cannot be told."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(200).lstrip().lower()
    except OSError:
        return None
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer and not the picture, which `git lfs pull` fetches"
    return "a web page and not a picture" if head.startswith((b"<!doctype", b"<html", b"<?xml")) else None


def is_hidden(name: str) -> bool:
    """Whether a file or folder is passed over: `_masks`, `.ipynb_checkpoints`, `__MACOSX`; not Roboflow's tables."""
    return name.startswith((".", "_")) and name not in ROBOFLOW


def walk(root: Path) -> Listing:
    """Finds every file under `root`.

    Parameters
    ----------
    root : Path

    Returns
    -------
    Listing
    """
    listing = Listing(root)
    start = len(os.path.join(root, ""))
    seen: dict[tuple[int, int], str] = {}
    about = os.stat(root)
    left: list[tuple[str, frozenset[tuple[int, int]]]] = [(str(root), frozenset([(about.st_dev, about.st_ino)]))]
    while left:
        folder, above = left.pop()
        _list_folder(folder, above, listing, start, seen, left)
    for names in listing.files.values():
        names.sort(key=natural_key)
    listing.folders.sort(key=natural_key)
    _pair_headers(listing)
    return listing


def _list_folder(folder: str, above: frozenset, listing: Listing, start: int, seen: dict, left: list) -> None:
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except OSError as error:
        listing.others[folder[start:] or "."] = f"folders that cannot be opened ({error.strerror})"
        return
    for entry in found:
        name = entry.path[start:].replace(os.sep, "/")
        if is_hidden(entry.name):
            listing.others[name] = "names that start with . or _"
            continue
        reason = _broken_link(entry)
        if reason:
            listing.others[name] = reason
        elif not entry.is_dir():
            _list_file(entry, name, listing)
        elif entry.stat().st_ino and (key := (entry.stat().st_dev, entry.stat().st_ino)) in above:
            listing.others[name] = "links that lead back to a folder above them"
        else:
            if key in seen:
                listing.notes.append(f"{name} and {seen[key]} are the same folder, so its images are there twice")
            seen.setdefault(key, name)
            listing.folders.append(name)
            left.append((entry.path, above | {key}))


def _broken_link(entry: os.DirEntry) -> str | None:
    """Why a link leads nowhere; None for anything else."""
    if not entry.is_symlink():
        return None
    try:
        entry.stat()
    except FileNotFoundError:
        if ".git/annex/objects" in os.readlink(entry.path).replace(os.sep, "/"):
            return "links to content that is not here (DataLad: `datalad get` fetches it)"
        return "links whose target does not exist"
    except OSError as error:
        return f"links that cannot be followed ({error.strerror})"
    return None


def _list_file(entry: os.DirEntry, name: str, listing: Listing) -> None:
    suffix = ending(entry.name)
    kind = BY_ENDING.get(suffix)
    if kind is None:
        kind = "other" if suffix in COMPANIONS or not entry.is_file() else sniff(entry.path)
    if kind == "other" or not entry.is_file():
        listing.others[name] = f"{suffix or 'files without ending'}" if entry.is_file() else "pipes, sockets or devices"
    else:
        listing.files.setdefault(kind, []).append(name)


def _pair_headers(listing: Listing) -> None:
    """An Analyze or NIfTI pair is one volume: its .img goes with the .hdr."""
    for name in listing.files.get("volume", ()):
        for other in (name[:-4] + ".img", name[:-4] + ".IMG"):
            if ending(name) == ".hdr":
                listing.others.pop(other, None)


def counted_by_reason(others: dict[str, str], *, all_kinds: bool = False) -> str:
    """What was left out, counted: "3 .nii.gz; links whose target does not exist: 1 (a/b.png)".

    Parameters
    ----------
    others : dict of str to str
        File to reason, as in `Listing`.
    all_kinds : bool
        False leaves out what only accompanies a data set: texts, tables, hidden names.
    """
    quiet = (*COMPANIONS, "names that start with . or _")
    counts = Counter(reason for reason in others.values() if all_kinds or reason not in quiet)
    first: dict[str, str] = {}
    for name, reason in others.items():
        first.setdefault(reason, name)
    shown = []
    for reason, n in counts.items():
        shown.append(f"{n:,} {reason}" if reason.startswith(".") else f"{reason}: {n:,} ({first[reason]})")
    return "; ".join(sorted(shown))


def below(names: Iterable[str], folder: str) -> list[str]:
    """The names that lie in a folder, or below it."""
    return [name for name in names if name.startswith(f"{folder}/")]
