"""What the audit says about shortcuts: which, how well they name the class, and what could not be looked at."""

from __future__ import annotations

from ._record import Finding
from ._shortcuts import TOGETHER, Shortcut, ShortcutSearch

CHECKS = {"file": "file shortcuts", "image": "image shortcuts"}


def report_shortcuts(search: ShortcutSearch, findings: list[Finding]) -> None:
    """Adds one finding for files and one for images.

    A clear shortcut in the files is bad: a sound set has none. One in the images is a note, as it may be biology.

    Parameters
    ----------
    search : ShortcutSearch
    findings : list of Finding
        Added to.
    """
    for kind, check in CHECKS.items():
        shortcuts = search.of_kind(kind)
        if not shortcuts and search.not_seen:
            findings.append(Finding(check, f"not looked for: {search.not_seen}", "note"))
            continue
        seen = [s for s in shortcuts if s.predicts]
        level = "good"
        if seen:
            level = "bad" if kind == "file" and any(s.is_clear for s in seen) else "note"
        text = _told(search, seen) if seen else _none_found(shortcuts, kind)
        if kind == "file" and search.constant:
            text += f". The same in all: {', '.join(search.constant)}"
        if search.left_out:
            text += f". Left out, for too few subjects: {', '.join(search.left_out)}"
        findings.append(Finding(check, text, level))


def _told(search: ShortcutSearch, seen: list[Shortcut]) -> str:
    best = seen[0]
    others = [f"{s.name} ({s.balanced_accuracy.value:.2f})" for s in seen[1:]]
    values = [f"{cls} {value}" for cls, value in zip(search.classes, best.values, strict=False)]
    numbers = "median (10th to 90th percentile) by class" if " to " in "".join(values) else "by class"
    text = describe(best) + (f"; {numbers}: {'; '.join(values)}" if values else "")
    return text + (f". Also {', '.join(others)}" if others else "")


def _none_found(shortcuts: tuple[Shortcut, ...], kind: str) -> str:
    if not shortcuts:
        return "none: nothing differs between the files" if kind == "file" else "none: nothing differs"
    best = max(shortcuts, key=lambda s: s.balanced_accuracy.value)
    names = [s.name for s in shortcuts if s.name != TOGETHER]
    scores = f"balanced accuracy {best.balanced_accuracy.value:.2f}, {best.by_chance:.2f} by chance"
    if len(names) == 1:
        return f"none: {names[0]} does not name the class better than by chance ({scores})"
    return f"none better than by chance. Tried, alone and together: {', '.join(names)} (best: {scores})"


def describe(shortcut: Shortcut) -> str:
    """One shortcut in words: "file size alone names the class with a balanced accuracy of 0.81 (...)"."""
    e = shortcut.balanced_accuracy
    interval = "" if e.low != e.low else f"95 % CI {e.low:.2f} to {e.high:.2f}; "
    who = f"{shortcut.name} alone" if shortcut.name != TOGETHER else f"all properties of the {shortcut.kind}s together"
    verb = "names" if shortcut.name != TOGETHER else "name"
    return (
        f"{who} {verb} the class with a balanced accuracy of {e.value:.2f} ({interval}{shortcut.by_chance:.2f} by "
        f"chance), split by {shortcut.split_by}"
    )


def judge_shortcuts(search: ShortcutSearch) -> list[str]:
    """Sentences for the verdict."""
    text = []
    files = [s for s in search.of_kind("file") if s.predicts]
    if any(s.is_clear for s in files):
        text.append(
            f"The files give the class away: {describe(files[0])}. A network can learn from the pixels how the files "
            "of each class were made. Make them all in one way from the originals."
        )
    elif files:
        text.append(f"The files hint at the class: {describe(files[0])}.")
    images = [s for s in search.of_kind("image") if s.predicts]
    if images:
        best = describe(images[0])
        text.append(
            f"{best[0].upper()}{best[1:]}. That may be biology or the making of the images; a network that is to see "
            "more must do better."
        )
    return text
