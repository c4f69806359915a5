"""The folder that was named: whether it is there, and what to say if there is nothing in it to read."""

from __future__ import annotations

import difflib
import shlex
from collections import Counter
from pathlib import Path

from .._shared import call_text, check_path
from ._layout import slices_advice
from ._walk import (
    ARRAY_EXTENSIONS,
    EXTENSIONS,
    PILLOW_EXTENSIONS,
    VOLUME_EXTENSIONS,
    Listing,
    counted_by_reason,
    ending,
    sniff,
)


def check_root(root: str | Path) -> Path:
    """`root` as a path, or an error that names the nearest folder that does exist."""
    root = check_path(root, "root").expanduser()
    if root.is_dir():
        return root
    if root.exists():
        raise NotADirectoryError(
            f"{root}: expected a folder, a table (.csv, .txt, .json, .parquet), arrays (.npz) or a cache, found a file"
            f"{_whole_folder(root) or _folder_of(root) or way_in(str(root))}"
        )
    parent = next(p for p in (root.absolute()).parents if p.is_dir())
    near = difflib.get_close_matches(root.name, [p.name for p in parent.iterdir() if p.is_dir()], n=1)
    hint = f". Did you mean {parent / near[0]}?" if near and parent == root.absolute().parent else ""
    raise FileNotFoundError(f"{root}: no such folder{hint or f' (there is {parent})'}")


def nothing_to_read(listing: Listing, labelled: bool | None) -> str:
    """The message about a folder without a single picture: what it holds instead."""
    root = listing.root
    kinds = Counter(ending(name) or "files without ending" for names in listing.files.values() for name in names)
    there = "; ".join(
        filter(
            None, [*(f"{n:,} {kind}" for kind, n in kinds.items()), counted_by_reason(listing.others, all_kinds=True)]
        )
    )
    holds = f". It holds {there}" if there else ""
    if listing.volumes:
        return f"{root}: no pictures, but volumes{holds}. Cut them into slices: {slices_advice(root)}"
    if listing.files.get("parquet"):
        way_out = call_text("datasets.open_dataset", "data", root / listing.files["parquet"][0])
        return f"{root}: no pictures, but tables with pictures in them{holds}. Open {way_out}"
    if arrays := next((name for name in listing.others if ending(name) in ARRAY_EXTENSIONS), None):
        way_out = call_text("datasets.open_dataset", "data", root)
        return f"{root}: no pictures, but arrays such as {arrays}{holds}. Open them: {way_out}"
    if labelled is False:
        return f"{root}: no {', '.join(EXTENSIONS)} file in it or below{holds}"
    packed = next((hint for name in listing.others if (hint := way_in(str(root / name)))), "")
    return f"{root}: no class folders and no images in it{holds}{packed or f'. Expected {root}/class/image.png'}"


_HINTS = {
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "Save the spreadsheet as CSV first"),
    **dict.fromkeys((".7z",), "Unpack it first: 7z x {name}"),
    **dict.fromkeys((".rar",), "Unpack it first: unrar x {name}"),
    **dict.fromkeys((".001", ".z01"), "A part of an archive: join the parts first, then unpack the whole"),
    **dict.fromkeys((".gz", ".xz", ".bz2"), "Unpack it first"),
    **dict.fromkeys(
        (".nrrd", ".nhdr", ".mha", ".mhd"),
        "Write it as NIfTI first: pip install SimpleITK && python3 -c "
        "'import SimpleITK as s, sys; s.WriteImage(s.ReadImage(sys.argv[1]), sys.argv[2])' {name} {stem}.nii.gz",
    ),
    ".mnc": "Write it as NIfTI first: mnc2nii {name} {stem}.nii",
    ".heic": "Write it as PNG first",
    ".arrow": "Write it as Parquet first: python3 -c 'import datasets, sys; "
    "datasets.Dataset.from_file(sys.argv[1]).to_parquet(sys.argv[2])' {name} {stem}.parquet",
    **dict.fromkeys(
        (".pkl", ".pickle", ".joblib", ".pt", ".pth"),
        "Such files can run code and are not read as pictures. Save the arrays as .npz: images, labels and subjects",
    ),
    ".tfrecord": "TFRecord files are not read. Write their pictures into one folder a class, or their arrays as .npz: "
    "images, labels and subjects",
}


def _whole_folder(file: Path) -> str:
    """For one scan that was named alone: the call with the folder that holds it."""
    is_scan = ending(file.name) in VOLUME_EXTENSIONS or sniff(file) in ("dicom", "volume")
    return f". Cut the scans of its folder into slices: {slices_advice(file.absolute().parent)}" if is_scan else ""


def _folder_of(file: Path) -> str:
    """For one picture that was named alone: the folder that holds it."""
    is_picture = ending(file.name) in (*EXTENSIONS, *PILLOW_EXTENSIONS)
    return f". To take the pictures of its folder: {shlex.quote(str(file.parent))}" if is_picture else ""


def way_in(path: str) -> str:
    """What to do with a file that holds data in a form that is not read: unpack an archive, export a spreadsheet."""
    kind = ending(path)
    kind = ".tfrecord" if ".tfrecord" in path.lower() else kind
    name, stem = shlex.quote(path), shlex.quote(path[: -len(kind)] if kind else path)
    if kind == ".zip":
        return f". Unpack it first: python3 -m zipfile -e {name} {stem}"
    if kind in (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2"):
        return f". Unpack it first: python3 -m tarfile -e {name} {stem}"
    return f". {_HINTS[kind].format(name=name, stem=stem)}" if kind in _HINTS else ""
