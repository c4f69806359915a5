"""How a folder is laid out: which level of sub-folders holds the classes, which the parts of a ready-made split.

The structure tells it: folders that hold folders of the same names are parts, or classes that are cut up in the same
way; folders of pictures are classes; a folder that holds one folder only is a wrapper. Where two readings remain, words
decide (`_words`), and where they do not, the error shows both readings and how to ask for each of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .._shared import call_text, natural_key, option_text, some
from ._walk import COMPANIONS, Listing, below, ending
from ._words import (
    alike,
    is_class,
    is_group,
    is_masks,
    is_pictures,
    is_plane,
    is_subject,
    normal,
    part_of,
    without_augmentation,
    without_original,
)

ROLES = ("part", "class", "subject", "*")


@dataclass
class Layout:
    """What each picture is, by the folders that it lies in.

    Attributes
    ----------
    files : list of str
        Class by class, in natural order; those that have a class, or all where there are no classes.
    labels : list of int or None
        None where no folder is a class.
    classes : list of str
    parts : list of str or None
        The part of a ready-made split that each file lies in.
    subjects : list of str or None
        Where folders are named as subjects by `layout`.
    others : dict of str to str
        Pictures without a class, augmented copies and masks, with the reason why they are left out.
    roles : tuple of str
        What the levels of folders are: "part", "class", "subject" or "*".
    reading : str
        The same in words.
    """

    files: list[str]
    labels: list[int] | None
    classes: list[str]
    parts: list[str] | None = None
    subjects: list[str] | None = None
    others: dict[str, str] = field(default_factory=dict)
    roles: tuple[str, ...] = ()
    reading: str = ""


@dataclass
class Folder:
    """A folder with pictures in it or below."""

    name: str
    path: str
    files: list[str] = field(default_factory=list)
    folders: dict[str, Folder] = field(default_factory=dict)

    def below(self) -> list[str]:
        """All pictures in it and below."""
        found, left = [], [self]
        while left:
            folder = left.pop()
            found += folder.files
            left += folder.folders.values()
        return found


@dataclass
class Level:
    """One level of the tree: folders of several parts that stand side by side, joined by name."""

    members: list[tuple[Folder, str]]  # and the part that each lies in, "" for none

    def loose(self) -> list[str]:
        """Pictures that lie in these folders directly."""
        return [name for folder, _ in self.members for name in folder.files]

    def groups(self) -> dict[str, Level]:
        """The sub-folders, joined where their names are the same but for case and signs."""
        found: dict[str, Level] = {}
        spelling: dict[str, str] = {}
        for folder, part in self.members:
            for child in folder.folders.values():
                name = spelling.setdefault(normal(child.name) or child.name, child.name)
                found.setdefault(name, Level([])).members.append((child, part))
        return dict(sorted(found.items(), key=lambda item: natural_key(item[0])))

    def is_deep(self) -> bool:
        """Whether there are folders in it."""
        return any(folder.folders for folder, _ in self.members)


class AmbiguousLayout(ValueError):
    """Folders that can be read in two ways."""


def find_layout(listing: Listing, files: Sequence[str], pattern: str | None = None) -> Layout:
    """Reads classes and parts off the folders.

    Parameters
    ----------
    listing : Listing
        For messages about what else is there.
    files : sequence of str
        The pictures or volumes.
    pattern : str or None
        What each level of folders is, such as "part/class" or "class/subject/*"; None finds out.

    Returns
    -------
    Layout

    Raises
    ------
    ValueError
        No classes; an empty class; `AmbiguousLayout` if there are two readings.
    """
    tree, others = _tree(files), dict[str, str]()
    _drop_asides(tree, others)
    finder = _Finder(listing, files, others)
    if pattern is not None:
        return finder.by_pattern(tree, pattern)
    return finder.finish(finder.read(Level([(tree, "")]), []))


def _tree(files: Iterable[str]) -> Folder:
    root = Folder("", "")
    for name in files:
        folder = root
        for piece in name.split("/")[:-1]:
            path = f"{folder.path}/{piece}" if folder.path else piece
            folder = folder.folders.setdefault(piece, Folder(piece, path))
        folder.files.append(name)
    return root


# -- what stands beside the pictures ----------------------------------------------------------------------------------


def _drop_asides(folder: Folder, others: dict[str, str]) -> None:
    """Takes out augmented copies and masks, each where its original stands beside it."""
    for name in list(folder.folders):
        rest = [other for other in folder.folders if other != name]
        stem = without_augmentation(name)
        if stem is not None and any(_is_original_of(folder.folders[name], stem, folder.folders[o]) for o in rest):
            _leave_out(folder, name, f"augmented copies ({folder.folders[name].path}/)", others)
        elif is_masks(name) and any(_stands_beside(folder.folders[name], folder.folders[o]) for o in rest):
            _leave_out(folder, name, f"masks or other annotations ({folder.folders[name].path}/)", others)
    stems = {name.rsplit(".", 1)[0] for name in folder.files}
    for name in list(folder.files):
        stem = name.rsplit(".", 1)[0]
        if any(stem.lower().endswith(end) and stem[: -len(end)] in stems for end in ("_mask", "-mask", "_seg")):
            folder.files.remove(name)
            others[name] = "masks beside their pictures"
    for child in folder.folders.values():
        _drop_asides(child, others)


def _is_original_of(augmented: Folder, stem: str, other: Folder) -> bool:
    """ "AD_augmented" beside "AD", or a folder of augmented copies beside one with sub-folders of the same names."""
    if without_augmentation(other.name) is not None:
        return False
    named = normal(stem) == normal(without_original(other.name))
    inner = [{normal(n) for n in _unwrapped(f).folders} for f in (augmented, other)]
    return named or bool(inner[0] & inner[1])


def _stands_beside(masks: Folder, other: Folder) -> bool:
    if is_masks(other.name):
        return False
    inner = [{normal(n) for n in f.folders} for f in (masks, other)]
    stems = [{name.rsplit("/", 1)[-1].rsplit(".", 1)[0] for name in f.files} for f in (masks, other)]
    return bool(inner[0] & inner[1]) or bool(stems[0] & stems[1]) or is_pictures(other.name)


def _leave_out(folder: Folder, name: str, reason: str, others: dict[str, str]) -> None:
    others.update(dict.fromkeys(folder.folders.pop(name).below(), reason))


def _unwrapped(folder: Folder) -> Folder:
    """Past folders that hold one folder of folders and nothing else."""
    while len(folder.folders) == 1 and not folder.files:
        (only,) = folder.folders.values()
        if not only.folders:
            break
        folder = only
    return folder


# -- levels -----------------------------------------------------------------------------------------------------------


@dataclass
class _Found:
    """Classes with their members, or none, and what the levels above them are."""

    classes: dict[str, Level]
    loose: list[tuple[str, str]]  # pictures without a class, and the part that they lie in
    roles: list[str]
    part_below: bool = False  # class/part rather than part/class


class _Finder:
    def __init__(self, listing: Listing, files: Sequence[str], others: dict[str, str]) -> None:
        self.listing, self.files, self.others = listing, files, others

    def read(self, level: Level, roles: list[str], above: Sequence[tuple[str, str]] = ()) -> _Found:
        """Decides what the sub-folders of a level are, and goes on below them where they are parts."""
        loose: list[tuple[str, str]] = [
            *above,
            *((name, part) for folder, part in level.members for name in folder.files),
        ]
        groups = level.groups()
        if len(groups) == 1:
            (only,) = groups.values()
            if only.is_deep() and not only.loose():
                return self.read(only, [*roles, "*"], loose)
        if not groups:
            return _Found({}, loose, roles)
        role = self.role_of(groups, roles)
        if role == "class":
            return _Found(groups, loose, [*roles, "class"])
        if role == "class/part":
            return _Found(groups, loose, [*roles, "class", "part"], True)
        if role == "flat part":
            flat = [(name, part_of(k) or k) for k, g in groups.items() for name in g.loose()]
            return _Found({}, [*loose, *flat], [*roles, "part"])
        if role == "class, parts without":
            aside = {k: g for k, g in groups.items() if part_of(k) and not g.is_deep()}
            loose += [(name, k) for k, g in aside.items() for name in g.loose()]
            return _Found({k: g for k, g in groups.items() if k not in aside}, loose, [*roles, "class"])
        members = []
        for name, group in groups.items():
            for folder, part in group.members:
                inner = "" if role == "*" else name
                members.append((_unwrapped(folder), "/".join(filter(None, (part, inner)))))
        return self.read(Level(members), [*roles, role], loose)

    def role_of(self, groups: dict[str, Level], roles: list[str]) -> str:
        """What one level of sub-folders is."""
        names = list(groups)
        parts = [name for name in names if part_of(name)]
        deep = [name for name in names if groups[name].is_deep() and not groups[name].loose()]
        self._refuse_copy(groups)
        if not any(groups[name].is_deep() for name in names):
            return self._role_of_flat(names, roles, parts)
        inner = {name: self._inner(groups[name]) for name in names if groups[name].is_deep()}
        below_all = [n for found in inner.values() for n in found]
        if parts and set(deep) <= set(parts) and deep:
            return "part"
        if self._mostly(below_all, part_of):
            deeper = any(grand.folders for n in deep for f, _ in groups[n].members for grand in f.folders.values())
            return "part" if deeper and not self._mostly(names, is_class) else "class/part"
        shared = self._shared(inner)
        one_name = len({normal(name) for name in below_all}) < 2
        if not deep or one_name or (len(deep) > 1 and not shared):
            return self._classes_or_subjects(names, roles, parts)
        known, inner_known = self._mostly(names, is_class), self._mostly(below_all, is_class)
        if self._mostly(names, is_plane):
            return "*"
        if inner_known and not known:
            return "part"
        if (known and not inner_known) or self._mostly(below_all, is_plane) or self._numbered(below_all):
            return self._classes_or_subjects(names, roles, parts)
        if self._mostly(names, is_group):
            return "part"
        raise AmbiguousLayout(self._two_readings(names, inner, roles))

    def _refuse_copy(self, groups: dict[str, Level]) -> None:
        """A folder that holds folders of the same names as those beside it: mostly the same archive, unpacked twice."""
        flat = {normal(name): name for name, level in groups.items() if not level.is_deep()}
        for level in groups.values():
            inner = {normal(child) for child in self._inner(level)} if level.is_deep() else set()
            if len(flat) >= 2 and inner == set(flat) and len(groups) == len(flat) + 1:
                folder = level.members[0][0].path
                within = call_text("datasets.open_dataset", "data", self.listing.root / folder)
                raise AmbiguousLayout(
                    f"{self.listing.root}: {folder}/ holds the same folders as lie beside it "
                    f"({some(list(flat.values()), 4)}), so images may be there twice.\n"
                    f"  only what is in {folder}/: {within}\n"
                    f"  only what lies beside it: rename {folder} to _{folder.rsplit('/', 1)[-1]}\n"
                    f"Choose one"
                )

    def _role_of_flat(self, names: list[str], roles: list[str], parts: list[str]) -> str:
        """Folders of pictures: classes, but for a flat test folder beside them, or parts without classes."""
        rest = [name for name in names if name not in parts]
        if parts and not rest and len({part_of(name) for name in parts}) == len(parts):
            return "flat part"
        return self._classes_or_subjects(names, roles, parts)

    def _classes_or_subjects(self, names: list[str], roles: Sequence[str], parts: Sequence[str] = ()) -> str:
        """Classes, beside which folders of pictures may stand that are called like parts."""
        if not all(is_subject(name) for name in names) or len(names) < 2:
            if len(names) <= 20 or not alike(names):
                return "class, parts without" if parts and len(names) - len(parts) >= 2 else "class"
        above = "".join(f"{role}/" for role in roles)
        raise AmbiguousLayout(
            f"{self.listing.root}: its {len(names)} sub-folders ({some(names, 3)}) are called like subjects, so there "
            f"are no classes. If they are classes all the same: {option_text('layout', f'{above}class')}. To read them "
            f"without labels: {call_text('datasets.open_dataset', 'pretrain', self.listing.root, labelled=False)}"
        )

    def _inner(self, level: Level) -> list[str]:
        """Names of the folders within, past wrappers."""
        return [child for folder, _ in level.members for child in _unwrapped(folder).folders]

    @staticmethod
    def _shared(inner: dict[str, list[str]]) -> bool:
        """Whether folders hold folders of the same names: at least half of the smaller one's."""
        sets = [{normal(n) for n in found} for found in inner.values()]
        counts = Counter(name for found in sets for name in found)
        repeated = sum(n > 1 for n in counts.values())
        return bool(sets) and repeated >= max(1, min(map(len, sets)) / 2)

    @staticmethod
    def _numbered(names: list[str]) -> bool:
        """Numbers of subjects: many, and alike but for their digits."""
        distinct = sorted({normal(n) for n in names})
        return len(distinct) > 12 and alike(distinct)

    @staticmethod
    def _mostly(names: Sequence[str], test: Callable[[str], object]) -> bool:
        hits = sum(bool(test(name)) for name in names)
        return bool(names) and hits >= 2 and 2 * hits >= len(names) and (hits == len(names) or len(names) > 2)

    def _two_readings(self, names: list[str], inner: dict[str, list[str]], roles: list[str]) -> str:
        above = "".join(f"{role}/" for role in roles)
        within = sorted({n for found in inner.values() for n in found}, key=natural_key)
        parts = option_text("layout", f"{above}part/class")
        return (
            f"{self.listing.root}: the folders can be read in two ways.\n"
            f"  parts {some(names, 4)} of the classes {some(within, 4)}: {parts}\n"
            f"  classes {some(names, 4)}, whatever lies below them: {option_text('layout', f'{above}class')}\n"
            f"Choose one"
        )

    # -- the result ------------------------------------------------------------------------------------------------

    def by_pattern(self, tree: Folder, pattern: str) -> Layout:
        """A layout whose levels are named."""
        roles = [piece.strip() for piece in pattern.strip("/").split("/")]
        wrong = [role for role in roles if role not in ROLES]
        if wrong or max(Counter(r for r in roles if r in ("class", "subject")).values(), default=0) > 1:
            raise ValueError(
                f"layout={pattern!r}: expected the levels of folders from above, each one of {', '.join(ROLES)}, "
                "separated by /, such as 'part/class' or 'class/subject'"
            )
        start = 0 if roles[0] == "*" else _depth_of(_unwrapped(tree))
        rows = []
        for name in tree.below():
            pieces = name.split("/")[start:-1]
            # "*" after the last named level stands for any number of levels, so it takes nothing away.
            taken = dict(zip(range(len(roles)), pieces, strict=False))
            found = {
                role: "/".join(taken[i] for i, r in enumerate(roles) if r == role and i in taken) for role in ROLES
            }
            rows.append((name, found))
        return self._from_rows(rows, roles)

    def finish(self, found: _Found) -> Layout:
        """Rows of what was found, checked and put in order."""
        rows = [(name, {"part": part}) for name, part in found.loose]
        for cls, level in found.classes.items():
            for folder, part in level.members:
                for name in folder.below():
                    inner = name[len(folder.path) + 1 :].split("/")
                    rows.append(
                        (name, {"class": cls, "part": inner[0] if found.part_below and len(inner) > 1 else part})
                    )
        self._refuse_empty(found)
        return self._from_rows(rows, found.roles)

    def _from_rows(self, rows: list[tuple[str, dict[str, str]]], roles: Sequence[str]) -> Layout:
        spelling: dict[str, str] = {}
        for written in sorted((row.get("class", "") for _, row in rows), key=natural_key):
            spelling.setdefault(normal(written) or written, written)
        classes = sorted({spelling[k] for k in spelling if spelling[k]}, key=natural_key)
        place = {name: i for i, name in enumerate(classes)}
        kept, labels, parts, subjects = [], [], [], []
        for name, row in sorted(rows, key=lambda r: natural_key(r[0])):
            cls = row.get("class", "")
            if classes and not cls:
                beside = f"in {row['part']}/ without a class folder" if row.get("part") else "beside the class folders"
                self.others[name] = f"pictures {beside}"
                continue
            kept.append(name)
            labels.append(place[spelling[normal(cls) or cls]] if cls else 0)
            parts.append(row.get("part", ""))
            subjects.append(row.get("subject", ""))
        order = sorted(range(len(kept)), key=labels.__getitem__)
        layout = Layout([kept[i] for i in order], [labels[i] for i in order] if classes else None, classes)
        layout.parts = [parts[i] for i in order] if any(parts) else None
        layout.subjects = [subjects[i] for i in order] if all(subjects) and subjects else None
        layout.others, layout.roles = self.others, tuple(roles)
        layout.reading = describe(layout)
        return layout

    def _refuse_empty(self, found: _Found) -> None:
        """A folder beside the classes without pictures is an empty class, unless texts and tables are all it holds."""
        folders = [folder for level in found.classes.values() for folder, _ in level.members]
        places = {_above(folder.path) for folder in folders}
        known = {normal(name) for name in found.classes}
        filled = {piece for name in (*self.files, *self.others) for piece in _folders_of(name)}
        for name in self.listing.folders:
            if _above(name) not in places or name in filled or normal(name.rsplit("/", 1)[-1]) in known:
                continue
            inside = [
                *below(self.listing.others, name),
                *(f for k in self.listing.files.values() for f in below(k, name)),
            ]
            if not inside or not all(ending(file) in COMPANIONS for file in inside):
                raise ValueError(empty_class(self.listing, name))


def _above(path: str) -> str:
    return path.rsplit("/", 1)[0] if "/" in path else ""


def _folders_of(name: str) -> list[str]:
    pieces = name.split("/")[:-1]
    return ["/".join(pieces[: i + 1]) for i in range(len(pieces))]


def _depth_of(folder: Folder) -> int:
    return folder.path.count("/") + 1 if folder.path else 0


def empty_class(listing: Listing, folder: str) -> str:
    """The message about a class without pictures: what lies there instead, and the way out."""
    inside = [name for names in listing.files.values() for name in below(names, folder)]
    others = below(listing.others, folder)
    kinds = Counter(ending(name) or "files without ending" for name in inside)
    kinds += Counter(listing.others[name] for name in others)
    there = "; ".join(f"{n:,} {kind}" for kind, n in kinds.most_common(4)) or "nothing at all"
    text = f"class {folder} is empty: no picture in {listing.root / folder}, which holds {there}"
    volumes = [name for name in inside if name in listing.volumes]
    if volumes:
        return text + ". Cut volumes into slices first: " + slices_advice(listing.root, folder)
    return text + ". Fill it, remove it, or put an underscore before its name"


def slices_advice(root: Path, folder: str = "") -> str:
    """The call that cuts the volumes of a folder, or of one below it, into pictures beside it."""
    name = "_".join(filter(None, (root.absolute().name, folder.replace("/", "_"), "slices")))
    return call_text("datasets.write_slices", "slices", root / folder, out=root.absolute().parent / name)


def describe(layout: Layout) -> str:
    """One line: "part/class: train 60, test 20; classes AD, CN"."""
    pieces = []
    if layout.parts is not None:
        counts = Counter(layout.parts)
        pieces.append("parts " + ", ".join(f"{name or '(none)'} {n:,}" for name, n in counts.items()))
    if layout.labels is not None:
        sizes = Counter(layout.labels)
        pieces.append("classes " + ", ".join(f"{c} {sizes[i]:,}" for i, c in enumerate(layout.classes)))
    else:
        pieces.append(f"{len(layout.files):,} files without classes")
    if layout.subjects is not None:
        pieces.append(f"{len(set(layout.subjects)):,} subjects by folder")
    levels = "/".join(layout.roles) or "."
    return f"{levels}: " + "; ".join(pieces)
