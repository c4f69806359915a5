"""Names of classes: joining them, ordering them, and the wordings of the four severities of dementia."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

from .._shared import in_shell, option_text
from ._classes import SEVERITY
from ._words import normal, tokens

_SCALES = (
    ("cn", "smc", "emci", "mci", "lmci", "ad"),
    ("nc", "mci", "ad"),
    ("hc", "mci", "ad"),
)

_SEVERITIES = re.compile(
    r"^(non|not|no|without|verymild|questionable|mild|moderate)(dement\w*|dem|alzheimer\w*|impairment|impaired)?$"
)


def severity_of(name: str) -> int | None:
    """Which of the four severities a class is called: 0 none, 1 very mild, 2 mild, 3 moderate dementia; else None.

    Examples
    --------
    >>> [severity_of(n) for n in ("NonDemented", "Very mild Dementia", "Mild_Demented", "CDR 2", "MCI")]
    [0, 1, 2, 3, None]
    """
    rating = re.match(r"^cdr[ _]?(0\.5|0|1|2)(\.0)?$", name.casefold().strip())
    if rating:
        return {"0": 0, "0.5": 1, "1": 2, "2": 3}[rating[1]]
    found = _SEVERITIES.match(normal(name))
    if found is None or (found[2] is None and found[1] in ("no", "not", "without", "questionable")):
        return None
    return {"verymild": 1, "questionable": 1, "mild": 2, "moderate": 3}.get(found[1], 0)


def natural_order(classes: Sequence[str]) -> list[str]:
    """The classes by severity where their names tell it, else as they are.

    Examples
    --------
    >>> natural_order(["AD", "CN", "EMCI"]), natural_order(["b", "a"])
    (['CN', 'EMCI', 'AD'], ['b', 'a'])
    """
    ranks = [severity_of(name) for name in classes]
    if None not in ranks and len(set(ranks)) == len(ranks):
        return sorted(classes, key=lambda name: severity_of(name) or 0)
    for scale in _SCALES:
        if len(classes) > 1 and all(normal(name) in scale for name in classes):
            return sorted(classes, key=lambda name: scale.index(normal(name)))
    return list(classes)


def find_class(name: str, classes: Sequence[str], argument: str) -> str:
    """The class that is meant: by its name, whatever its case and signs, or by how it begins if only one does."""
    if name in classes:
        return name
    by_form = [c for c in classes if normal(c) == normal(name)]
    by_form = by_form or [c for c in classes if tokens(name) and tokens(c)[: len(tokens(name))] == tokens(name)]
    if len(by_form) == 1:
        return by_form[0]
    near = difflib.get_close_matches(name, classes, n=1)
    hint = f". Did you mean {near[0]}?" if near else ""
    which = "several" if by_form else "none"
    raise ValueError(f"{argument}: {name!r} is {which} of the classes {', '.join(classes)}{hint}")


def parse_merge(merge: object, classes: Sequence[str]) -> dict[str, list[str]]:
    """Which classes are joined under which new name, all others staying as they are, in their order.

    Parameters
    ----------
    merge : str, sequence of str, or dict of str to str or sequence of str
        "Mild,Moderate=Dementia", or {"Dementia": ["Mild", "Moderate"]}.
    classes : sequence of str

    Returns
    -------
    dict of str to list of str
        Every class once; ready for `Dataset.merge_classes`.

    Examples
    --------
    >>> parse_merge("b,c=sick", ["a", "b", "c"])
    {'a': ['a'], 'sick': ['b', 'c']}
    """
    if isinstance(merge, Mapping):
        asked = {str(new): [olds] if isinstance(olds, str) else list(olds) for new, olds in merge.items()}
    else:
        asked = {}
        texts: Iterable[str] = [merge] if isinstance(merge, str) else list(merge)  # type: ignore[call-overload]
        for text in texts:
            olds, sign, new = str(text).rpartition("=")
            if not sign or not new.strip() or not olds.strip():
                example = option_text("merge", f"{','.join(classes[-2:])}=joined")
                raise ValueError(f"merge: expected old,old=new, got {text!r}. Such as {example}")
            asked.setdefault(new.strip(), []).extend(old.strip() for old in olds.split(","))
    member: dict[str, str] = {}
    for new, members in asked.items():
        for old in members:
            found = find_class(old, classes, "merge")
            if found in member:
                raise ValueError(f"merge: {found} is named twice, for {member[found]} and for {new}")
            member[found] = new
    joined: dict[str, list[str]] = {}
    for name in classes:
        joined.setdefault(member.get(name, name), []).append(name)
    return joined


def merge_text(classes: Sequence[str], of: int | None = None) -> str:
    """How two neighbouring classes are joined, ready to type: class `of` and the one before it, or the last two."""
    last = len(classes) - 1 if of is None else max(of, 1)
    pair = list(classes[last - 1 : last + 1])
    if in_shell():
        return option_text("merge", f"{','.join(pair)}=joined")
    joined = {name: [name] for name in classes if name not in pair} | {"joined": pair}
    return f"merge_classes({joined})"


def in_order(class_order: Sequence[str] | str, classes: Sequence[str]) -> list[str]:
    """The classes in the order asked for; ValueError unless each is named once."""
    given = class_order.split(",") if isinstance(class_order, str) else list(class_order)
    if len(given) == 1 and "," in given[0]:
        given = given[0].split(",")
    try:
        order = [find_class(name.strip(), classes, "class_order") for name in given]
    except ValueError:
        order = []
    if sorted(order) != sorted(classes):
        raise ValueError(
            f"class_order: expected the classes {', '.join(classes)}, each once, got {', '.join(given)}. "
            f"Such as {option_text('class_order', list(classes))}"
        )
    return order


def task_members(task: Mapping[str, Sequence[str]], classes: Sequence[str]) -> dict[str, list[str]] | None:
    """A task's classes in the words of a data set whose classes are severities; None if they are not."""
    ranks = {name: severity_of(name) for name in classes}
    if None in ranks.values() or len(set(ranks.values())) < len(ranks):
        return None
    by_severity = {SEVERITY[rank]: name for name, rank in ranks.items() if rank is not None}
    joined = {new: [by_severity[old] for old in olds if old in by_severity] for new, olds in task.items()}
    return {new: olds for new, olds in joined.items() if olds}
