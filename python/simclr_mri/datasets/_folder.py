"""Class folders: which files there are, who is in them, and reading them all at once.

Everything a user can get wrong about a folder is told here in words: a missing folder, the wrong level, an empty class,
a file that is no image, subject tables that do not fit.
"""

from __future__ import annotations

import difflib
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .._shared import check_path, natural_key
from ._dataset import DataWarning

EXTENSIONS = (".jpg", ".jpeg", ".png")


OTHER_IMAGES = (".bmp", ".dcm", ".gif", ".gz", ".nii", ".tif", ".tiff", ".webp")


PART_NAMES = ("train", "training", "val", "valid", "validation", "dev", "test", "testing")


def _hidden(path: Path) -> bool:
    """Folders that start with a dot or an underscore hold no classes (`_masks`, `.ipynb_checkpoints`)."""
    return path.name.startswith((".", "_"))


def _subfolders(folder: Path) -> list[Path]:
    return sorted((p for p in folder.iterdir() if p.is_dir() and not _hidden(p)), key=lambda p: natural_key(p.name))


def _is_image(entry: os.DirEntry) -> bool:
    return entry.name.lower().endswith(EXTENSIONS) and not entry.name.startswith(".") and entry.is_file()


def _files_below(folder: Path) -> list[os.DirEntry]:
    """Files in a folder and in the folders below, but for hidden ones.

    A list, not a generator as of `Path.rglob`: a Ctrl-C that reaches a generator while it is closed is lost.
    """
    files: list[os.DirEntry] = []
    left: list[str | os.DirEntry] = [str(folder)]
    while left:
        with os.scandir(left.pop()) as entries:
            for entry in entries:
                if not entry.is_dir():
                    files.append(entry)
                elif not entry.name.startswith((".", "_")) and not entry.is_symlink():
                    left.append(entry)
    return files


def _images_below(folder: Path) -> list[str]:
    start = len(os.path.join(folder, ""))
    found = [entry.path[start:].replace(os.sep, "/") for entry in _files_below(folder) if _is_image(entry)]
    return sorted(found, key=natural_key)


def _has_images(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any([_is_image(entry) for entry in entries])


def check_root(root: str | Path) -> Path:
    """`root` as a path, or an error that names the nearest folder that does exist."""
    root = check_path(root, "root").expanduser()
    if root.is_dir():
        return root
    if root.exists():
        raise NotADirectoryError(f"{root}: expected a folder, found a file")
    parent = next(p for p in (root.absolute()).parents if p.is_dir())
    near = difflib.get_close_matches(root.name, [p.name for p in parent.iterdir() if p.is_dir()], n=1)
    hint = f". Did you mean {parent / near[0]}?" if near and parent == root.absolute().parent else ""
    raise FileNotFoundError(f"{root}: no such folder{hint or f' (there is {parent})'}")


def list_classes(root: Path, class_order: Sequence[str] | None = None) -> tuple[list[str], list[int], list[str]]:
    """Files and labels of class folders, class by class.

    Parameters
    ----------
    root : Path
    class_order : sequence of str or None
        The names of all folders, in the order wanted; None sorts them.

    Returns
    -------
    files : list of str
        Relative to `root`, in natural order within each class.
    labels : list of int
    classes : list of str
    """
    folders = _subfolders(root)
    if not folders or (_has_images(root) and not any(_images_below(f) for f in folders)):
        _explain_level(root)
    if len(folders) == 1 and not _has_images(folders[0]) and len(_subfolders(folders[0])) >= 2:
        raise ValueError(f"{root}: wrong folder level, it holds one folder only. Did you mean {folders[0]}?")
    parts = find_parts(root)
    if parts:
        raise ValueError(
            f"{root}: wrong folder level, it holds the parts of a split ({', '.join(parts)}), not classes. Read each "
            f"by itself, such as {root / next(iter(parts))}; the audit checks whether the parts overlap"
        )
    if class_order is not None:
        by_name = {folder.name: folder for folder in folders}
        if sorted(class_order) != sorted(by_name):
            raise ValueError(f"class_order: expected the classes {', '.join(by_name)}, got {', '.join(class_order)}")
        folders = [by_name[name] for name in class_order]
    files: list[str] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        found = _images_below(folder)
        if not found:
            raise ValueError(f"class {folder.name} is empty: no {', '.join(EXTENSIONS)} file in {folder}")
        files += [f"{folder.name}/{name}" for name in found]
        labels += [label] * len(found)
    _warn_of_others(root, folders)
    return files, labels, [f.name for f in folders]


def find_parts(root: Path) -> dict[str, Path]:
    """The folders of a ready-made split, such as `root/train/<class>` and `root/test/<class>`; empty if it is none."""
    parts = {f.name: f for f in _subfolders(root) if f.name.lower() in PART_NAMES}
    inner = [{g.name for g in _subfolders(f)} for f in parts.values()]
    return parts if len(parts) >= 2 and all(inner) and set.intersection(*inner) else {}


def list_flat(root: Path) -> list[str]:
    """All image files below `root`, whatever the folders are called."""
    files = _images_below(root)
    if not files:
        raise ValueError(f"{root}: no {', '.join(EXTENSIONS)} file in it or below")
    return files


def _explain_level(root: Path) -> None:
    if not _has_images(root):
        raise ValueError(f"{root}: no class folders and no images in it. Expected root/class/image.png")
    above = root.parent if root.parent.name else root.absolute().parent
    siblings = [f for f in _subfolders(above) if _has_images(f)]
    hint = (
        f"Did you mean the folder above, {above}, with the classes {', '.join(f.name for f in siblings[:6])}?"
        if len(siblings) >= 2
        else "Put each class into a folder of its own, or read them unlabelled (labelled=False)"
    )
    raise ValueError(f"{root}: wrong folder level, the images lie in it directly. {hint}")


def _warn_of_others(root: Path, folders: Sequence[Path]) -> None:
    names = [entry.name.lower() for folder in folders for entry in _files_below(folder)]
    others = Counter(os.path.splitext(name)[1] for name in names if name.endswith(OTHER_IMAGES))
    if others:
        which = ", ".join(f"{n:,} {suffix}" for suffix, n in sorted(others.items()))
        warnings.warn(f"{root}: {which} files are not read (only {', '.join(EXTENSIONS)})", DataWarning, stacklevel=4)
