"""Words in the names of folders: parts of a split, augmented copies, masks, planes, diagnoses.

They only help where the structure of the folders can be read in two ways; the layout itself is told by structure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

TRAIN, VAL, TEST = "train", "val", "test"

# Beginnings of words, in the languages of published sets.
_PARTS = {
    TRAIN: ("train", "trn", "learn", "entrain", "entren", "apprent", "treino", "addestr", "训练", "学習"),
    VAL: ("valid", "develop", "eval", "tuning", "validac", "验证", "検証"),
    TEST: ("test", "tst", "holdout", "heldout", "unseen", "prueba", "prova", "测试", "テスト"),
}
_WHOLE_PARTS = {"tr": TRAIN, "va": VAL, "val": VAL, "vali": VAL, "valset": VAL, "valdata": VAL, "dev": VAL}
_WHOLE_PARTS |= {"devset": VAL, "te": TEST, "ts": TEST, "pred": TEST, "predict": TEST, "prediction": TEST}
_WHOLE_PARTS |= {"predictions": TEST, "inference": TEST}
_GROUPS = re.compile(
    r"^(fold|split|part|partition|subset|set|batch|site|center|centre|cohort|cv|run)[ _-]?[0-9a-z]{0,3}$"
)

_AUGMENTED = ("aug", "synth", "generated", "smote", "oversampl", "gan")
_ORIGINAL = ("orig", "raw", "real", "source", "unaug", "nonaug")
_MASKS = ("mask", "segment", "annot", "groundtruth", "label", "contour", "overlay")
_PICTURES = ("image", "img", "picture", "scan", "slice", "png", "jpg", "jpeg", "data")
_PLANES = (
    *("axial", "coronal", "sagittal", "sag", "cor", "tra", "transverse", "t1", "t2", "flair", "pd", "dwi", "swi"),
    *("mprage", "bravo", "gre", "adc", "anat", "func", "t1w", "t2w", "t1ce", "t1c", "left", "right"),
)
_SEQUENCE = re.compile(r"^(t[12]|t[12]w|t[12]c|t1ce|flair|pd|dwi)$")

_CLASSES = re.compile(
    r"dement|alzheim|cognitiv|impair|normal|healthy|control|tumou?r|glioma|meningioma|pituitary|benign|malignant|lesion"
    r"|stroke|hemorr|haemorr|isch|parkinson|sclerosis|positive|negative|disease|patient|atroph|cdr|grade|stage"
)
_CLASS_NAMES = {
    *("ad", "cn", "nc", "hc", "mci", "emci", "lmci", "smci", "pmci", "smc", "scd", "ftd", "pd", "ms", "yes", "no"),
    *("sick", "well", "ill", "mild", "moderate", "verymild", "severe", "non", "none", "case", "cases", "class"),
}


def normal(name: str) -> str:
    """Letters and digits in lower case, so that "Very mild Dementia" and "VeryMild_dementia" are one.

    A plus, and a minus at the end, stay: IDH+ and IDH- are two.
    """
    return "".join(c for c in name.casefold() if c.isalnum() or c == "+") + "-" * name.rstrip().endswith("-")


def tokens(name: str) -> list[str]:
    """The words of a name: "AugmentedData_2" gives augmented, data, 2."""
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    return re.findall(r"[^\W\d_]+|\d+", spaced.casefold())


def part_of(name: str) -> str | None:
    """ "train", "val" or "test" where the name of a folder says so, in whatever wording."""
    words = [*tokens(name), normal(name)]
    for word in words:
        if word in _WHOLE_PARTS:
            return _WHOLE_PARTS[word]
        for part, beginnings in _PARTS.items():
            if word.startswith(beginnings):
                return part
    return None


def is_group(name: str) -> bool:
    """Whether a folder is called like one of several folds, subsets or sites."""
    return _GROUPS.match(name.casefold()) is not None


def without_augmentation(name: str) -> str | None:
    """What is left of the name of a folder of augmented copies; None if it does not say that it is one."""
    words = tokens(name)
    if any(word.startswith(_ORIGINAL) or word in ("non", "not", "no", "without", "before") for word in words):
        return None
    rest = [word for word in words if not word.startswith(_AUGMENTED)]
    return "".join(rest) if len(rest) < len(words) else None


def without_original(name: str) -> str:
    """The name without a word for "original"."""
    return "".join(word for word in tokens(name) if not word.startswith(_ORIGINAL))


def is_masks(name: str) -> bool:
    """Whether a folder is called like one of masks or other annotations."""
    return any(word.startswith(_MASKS) for word in [*tokens(name), normal(name)])


def is_pictures(name: str) -> bool:
    """Whether a folder is called "images" or the like."""
    return any(word.startswith(_PICTURES) for word in tokens(name))


def is_plane(name: str) -> bool:
    """Whether a folder is called like a plane, a sequence or a side."""
    words = tokens(name)
    return bool(words) and (words[0] in _PLANES or normal(name) in _PLANES or _SEQUENCE.match(normal(name)) is not None)


def is_class(name: str) -> bool:
    """Whether a folder is called like a diagnosis."""
    return normal(name) in _CLASS_NAMES or _CLASSES.search(normal(name)) is not None


def is_subject(name: str) -> bool:
    """Whether a folder is called by a scheme for subjects: BIDS, OASIS, ADNI, TCGA."""
    return (
        re.match(r"^(sub-[0-9a-z]+|oas\d_?\d{4}.*|\d{3}_s_\d{4,5}.*|tcga[_-].*|ixi\d{3}.*)$", name.casefold())
        is not None
    )


def is_numbered_person(name: str) -> bool:
    """Whether a folder is called like a person with a number: patient_1, Subject 07, case-003, sub-01."""
    return (
        is_subject(name)
        or re.match(r"^(patient|pat|subject|subj|sub|case|person)[ _.-]?\d+$", name.casefold()) is not None
    )


def alike(names: Sequence[str]) -> bool:
    """Whether the names differ in their digits only, as numbers of subjects do."""
    return len({re.sub(r"\d+", "#", name.casefold()) for name in names}) == 1 and any(c.isdigit() for c in names[0])
