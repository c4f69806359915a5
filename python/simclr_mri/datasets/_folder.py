"""The folder that was named: whether it is there, and what to say if there is nothing in it to read."""

from __future__ import annotations

import difflib
import shlex
from collections import Counter
from pathlib import Path

from .._shared import call_text, check_path
from ._layout import slices_advice
from ._walk import EXTENSIONS, Listing, counted_by_reason, ending


def check_root(root: str | Path) -> Path:
    """`root` as a path, or an error that names the nearest folder that does exist."""
    root = check_path(root, "root").expanduser()
    if root.is_dir():
        return root
    if root.exists():
        raise NotADirectoryError(
            f"{root}: expected a folder, a table (.csv, .tsv, .parquet) or a cache, found a file{way_in(str(root))}"
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
    if labelled is False:
        return f"{root}: no {', '.join(EXTENSIONS)} file in it or below{holds}"
    packed = next((hint for name in listing.others if (hint := way_in(str(root / name)))), "")
    return f"{root}: no class folders and no images in it{holds}{packed or f'. Expected {root}/class/image.png'}"


def way_in(path: str) -> str:
    """What to do with a file that holds data in a form that is not read: unpack an archive, export a spreadsheet."""
    kind = ending(path)
    name = shlex.quote(path)
    if kind == ".zip":
        return f". Unpack it first: python -m zipfile -e {name} {shlex.quote(path[: -len(kind)])}"
    if kind in (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2"):
        return f". Unpack it first: python -m tarfile -e {name} {shlex.quote(path[: -len(kind)])}"
    if kind in (".7z", ".rar"):
        return ". Unpack it first"
    return ". Save the spreadsheet as CSV first" if kind in (".xlsx", ".xls", ".ods") else ""
