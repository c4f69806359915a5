"""The commands: what each is for, which sections of options it takes, and which of them it refuses."""

from __future__ import annotations

from typing import Any

# Which sections each command takes: its own options bare, those of others as --section.name. Of these it refuses what
# it would not use, and says why.
EVERY_ARM = {
    "finetune.init": "the starts are those of --inits",
    "finetune.label_fraction": "the shares of the labels are those of --label-fractions",
}


READING = ("merge", "class_order", "fit", "intensity", "labels", "layout", "max_pixels")
NEEDS_LABELS = {"unlabelled": "this needs labels; pretrain and data do without"}


COMMANDS: dict[str, dict[str, Any]] = {
    "demo": {
        "help": "the whole experiment on phantoms, in minutes",
        "bare": ("demo", "study", "run"),
        "prefixed": ("data", "pretrain", "finetune"),
        "refused": {
            **EVERY_ARM,
            "data.image_size": "the size of the phantoms is --image-size",
            "data.groups": "the phantoms' subjects are known",
            "data.errors": "the phantoms can all be read",
            **{f"data.{name}": "the phantoms are read as they were made" for name in READING},
            "data.unlabelled": "classifiers need labels",
            "data.folds": "the number of folds is --splits",
            "data.fold": "all folds of --splits are tested",
        },
        "recipe": "quick",
        "examples": ["simclr-mri demo", "simclr-mri demo --out /tmp/demo --pretrain.epochs 10 --label-fractions 0.1 1"],
    },
    "data": {
        "help": "what is in a folder: classes, subjects, the split",
        "bare": ("data", "run"),
        "data": "required",
        "examples": [
            "simclr-mri data Dataset/",
            "simclr-mri data Dataset/ --task cdr0 --out look/",
            "simclr-mri data Dataset/ --merge Mild,Moderate=Dementia --class-order Non Very_Mild Dementia",
        ],
    },
    "slices": {
        "help": "cut NIfTI files and DICOM series into a folder of pictures",
        "bare": ("slices",),
        "data": "required",
        "data_help": "folder of volumes, with class folders or without",
        "refused": {
            "channels": "slices are gray",
            "task": "a task is chosen when the slices are read",
            "max_pixels": "slices are as large as their volume",
        },
        "examples": [
            "simclr-mri slices NIfTI/ --plane axial --every 2 --out Dataset/",
            "simclr-mri slices BIDS/ --labels participants.tsv:group --range 0.3 0.7 --image-size 128",
        ],
    },
    "audit": {
        "help": "leaks, copies and trivial baselines of a data set: a verdict and a page",
        "bare": ("audit", "run"),
        "data": "required",
        "examples": [
            "simclr-mri audit Dataset/ --task 3class",
            "simclr-mri audit Dataset/ --groups subjects.csv:subject",
        ],
    },
    "pretrain": {
        "help": "SimCLR on images, without labels",
        "bare": ("data", "pretrain", "run"),
        "data": "required",
        "examples": [
            "simclr-mri pretrain Dataset/ --out runs/ssl",
            "simclr-mri pretrain Dataset/ --recipe seed --epochs 2 --out runs/seed",
            "simclr-mri pretrain Dataset/ --arch resnet18 --image-size 64 --sharpness sam",
            "simclr-mri pretrain Scans/ --unlabelled --image-size 128",
        ],
    },
    "finetune": {
        "help": "train a classifier on labels",
        "bare": ("data", "finetune", "run"),
        "refused": NEEDS_LABELS,
        "data": "optional",
        "examples": [
            "simclr-mri finetune Dataset/ --init runs/ssl --label-fraction 0.1 --out runs/clf",
            "simclr-mri finetune Dataset/ --init random --arch resnet18",
            "simclr-mri finetune Dataset/ --init resnet50.safetensors",
        ],
    },
    "predict": {
        "help": "class probabilities of new pictures, as a table",
        "bare": ("predict",),
        "data": "required",
        "data_help": "folder of pictures, which need no labels",
        "model": True,
        "examples": [
            "simclr-mri predict runs/clf New/",
            "simclr-mri predict runs/clf New/ --groups '(sub-\\d+)' --out answers.parquet",
        ],
    },
    "evaluate": {
        "help": "scores of a classifier, by slice and by subject",
        "bare": ("evaluate", "data", "run"),
        "refused": NEEDS_LABELS,
        "data": "optional",
        "model": True,
        "examples": ["simclr-mri evaluate runs/clf", "simclr-mri evaluate runs/clf Other/ --on test"],
    },
    "explain": {
        "help": "heat maps of a classifier",
        "bare": ("explain", "data", "run"),
        "refused": NEEDS_LABELS,
        "data": "optional",
        "model": True,
        "examples": [
            "simclr-mri explain runs/clf",
            "simclr-mri explain runs/clf --layer layer2 --target Mild_Demented",
        ],
    },
    "export": {
        "help": "a model as ONNX or safetensors, for other programs",
        "bare": ("export",),
        "model": True,
        "examples": ["simclr-mri export runs/clf", "simclr-mri export runs/clf --out resnet.safetensors --rgb-stem"],
    },
    "runs": {
        "help": "runs with their scores and sizes",
        "bare": ("runs",),
        "examples": ["simclr-mri runs", "simclr-mri runs --under /data/experiments"],
    },
    "study": {
        "help": "starts x label fractions x seeds x splits, one table",
        "bare": ("study", "data", "run"),
        "prefixed": ("pretrain", "finetune"),
        "refused": {**EVERY_ARM, **NEEDS_LABELS, "fold": "all folds of --splits are tested"},
        "data": "required",
        "examples": [
            "simclr-mri study Dataset/ --recipe quick --image-size 64 --out runs/study",
            "simclr-mri study Dataset/ --inits random simclr --label-fractions 0.1 1 --seeds 3 --finetune.epochs 30",
            "simclr-mri study Dataset/ --task 3class --splits 5 --label-fractions 0.1 1 --lrs 1e-4 3e-4 1e-3",
        ],
    },
    "label-curve": {
        "help": "what pretrained features are worth with few labelled subjects, in minutes",
        "bare": ("label_curve", "data", "run"),
        "prefixed": ("pretrain",),
        "refused": {
            **NEEDS_LABELS,
            "split": "all subjects are tested, in the folds of --splits",
            "folds": "the number of folds is --splits",
            "fold": "all folds of --splits are tested",
            "by": "folds, draws and scores are by subject",
            "resume": "features that are in --out are read; choose another folder to start over",
        },
        "data": "required",
        "recipe": "quick",
        "examples": [
            "simclr-mri label-curve Dataset/ --task cdr0 --starts pixels random --intensities as_is subject",
            "simclr-mri label-curve Dataset/ --task cdr0 --image-size 64 --slices 8 --pretrain.epochs 20",
            "simclr-mri label-curve Dataset/ --starts pixels random runs/ssl --n-labelled 4 8 16 40",
        ],
    },
    "bench": {
        "help": "how fast training and inference are on this machine",
        "bare": ("bench", "run"),
        "examples": [
            "simclr-mri bench --precision fp32 bf16",
            "simclr-mri bench --rows resnet18 --n-jobs 1 --layers",
            "simclr-mri bench --peer",
        ],
    },
}
