"""The commands: what each is for, which sections of options it takes, which of them it refuses, and which are common.

`common` options are those of `--help`, in this order; `--help-all` has the rest. `out` is what `--out` is by default.
"""

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
NOT_RESUMED = {"resume": "the command always does all of its work"}
THE_MODELS_OWN = {"image_size": "it is the model's", "channels": "they are the model's"}
DATA = ("task", "groups", "labels", "image_size")
TRAINING = ("epochs", "batch_size", "lr", "sharpness", "precision", "random_state", "n_jobs", "out", "resume")

# Shorter words for --help, where those of --help-all take several lines.
SHORT_HELP = {
    "task": "join classes: 4class, 3class or cdr0",
    "groups": "subjects: table.csv:column, or a pattern with one group (default: OASIS, ADNI and BIDS names)",
    "labels": "classes: table.csv:column (default: folders)",
    "image_size": "resize to N pixels a side (default: as they are)",
    "cache": "folder for the decoded images, of any number",
    "unlabelled": "use all images, without labels or a split",
    "layout": "levels of folders: part/class, class/subject, ...",
    "merge": "join classes: Mild,Moderate=Dementia",
    "class_order": "classes in order of severity",
    "by": "split by subject, or by image (which leaks)",
    "split": "shares of train, val and test; or given",
    "errors": "files that cannot be read: stop, or leave them out",
    "intensity": "full, percentile, or the values of black and white",
    "views": "augmentation",
    "weights": "start from a run, or a file that holds a ResNet",
    "init": "start: random, a run, or a file that holds a ResNet",
    "lr": "highest learning rate (default: by optimizer)",
    "label_fraction": "share of the training labels",
    "random_state": "seed of weights, order and views (default: 0)",
    "sharpness": "sharpness-aware minimisation",
    "precision": "bf16 halves the memory",
    "n_jobs": "threads (default: all)",
    "resume": "auto goes on, never starts over",
    "out": "folder for results",
    "splits": "1 holds out a test set; more are folds",
    "lrs": "fine-tuning rates to choose from on validation data",
    "pretrain.arch": "the network",
    "finetune.arch": "the network",
    "pretrain.epochs": "passes over the training images",
    "finetune.epochs": "passes over the labelled images",
    "inits": "starts: random, simclr, or files with weights",
    "layer": "stage, such as layer2 (default: last one of 4 x 4 places)",
    "checks": "images on which the maps are checked (0: none)",
    "label-curve.layer": "stage whose features are read",
    "starts": "whose features: pixels, random, simclr, or files",
    "n_labelled": "labelled subjects of a draw (default: 4 8 16 40 ...)",
    "slices": "use only slices up to this number (default: all)",
    "range": "part of the volume, such as 0.3 0.7",
    "on": "part that is judged (default: test; of other data: all)",
    "n_bootstrap": "resamples for the intervals",
    "target": "class to explain (default: the predicted one)",
}


COMMANDS: dict[str, dict[str, Any]] = {
    "demo": {
        "help": "the whole experiment on phantoms, in minutes",
        "out": "simclr_mri_demo",
        "common": (
            "n_subjects",
            "slices",
            "image_size",
            "inits",
            "label_fractions",
            "seeds",
            "splits",
            "pretrain.epochs",
            "finetune.epochs",
            "out",
            "resume",
        ),
        "bare": ("demo", "study", "run"),
        "prefixed": ("data", "pretrain", "finetune"),
        "refused": {
            **EVERY_ARM,
            "data.image_size": "the size of the phantoms is --image-size",
            "data.cache": "the phantoms are few",
            "data.groups": "the phantoms' subjects are known",
            "data.errors": "the phantoms can all be read",
            **{f"data.{name}": "the phantoms are read as they were made" for name in READING},
            "data.unlabelled": "classifiers need labels",
            "data.folds": "the number of folds is --splits",
            "data.fold": "all folds of --splits are tested",
        },
        "recipe": "quick",
        "examples": ["simclr-mri demo", "simclr-mri demo --pretrain.epochs 10 --label-fractions 0.1 1"],
    },
    "data": {
        "help": "what is in a folder: classes, subjects, the split",
        "out": "no picture is written",
        "common": (
            "task",
            "merge",
            "class_order",
            "groups",
            "labels",
            "layout",
            "image_size",
            "cache",
            "unlabelled",
            "by",
            "split",
            "errors",
            "out",
        ),
        "refused": NOT_RESUMED,
        "bare": ("data", "run"),
        "data": "required",
        "examples": [
            "simclr-mri data Dataset/",
            "simclr-mri data Dataset/ --task cdr0 --out look/",
            "simclr-mri data Dataset/ --merge Mild,Moderate=Dementia",
            "simclr-mri data Dataset/ --cache Dataset_cache",
        ],
    },
    "slices": {
        "help": "cut NIfTI files and DICOM series into a folder of pictures",
        "common": ("plane", "every", "range", "labels", "groups", "image_size", "intensity", "errors", "out"),
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
            "simclr-mri slices BIDS/ --labels participants.tsv:group --range 0.3 0.7",
        ],
    },
    "audit": {
        "help": "leaks, copies and trivial baselines of a data set: a verdict and a page",
        "out": "audit",
        "common": ("task", "merge", "groups", "labels", "image_size", "baselines", "seed", "out"),
        "refused": NOT_RESUMED,
        "bare": ("audit", "run"),
        "data": "required",
        "examples": [
            "simclr-mri audit Dataset/ --task 3class",
            "simclr-mri audit Dataset/ --groups subjects.csv:subject",
        ],
    },
    "pretrain": {
        "help": "SimCLR on images, without labels",
        "out": "runs/pretrain",
        "common": ("groups", "image_size", "unlabelled", "arch", "weights", "views", *TRAINING),
        "bare": ("data", "pretrain", "run"),
        "data": "required",
        "examples": [
            "simclr-mri pretrain Dataset/ --out runs/ssl",
            "simclr-mri pretrain Dataset/ --recipe paper --epochs 2 --out runs/paper",
            "simclr-mri pretrain Dataset_cache/ --out runs/ssl",
            "simclr-mri pretrain Dataset/ --arch resnet18 --image-size 64 --sharpness sam",
            "simclr-mri pretrain Scans/ --unlabelled --image-size 128",
        ],
    },
    "finetune": {
        "help": "train a classifier on labels",
        "out": "runs/finetune_INIT_SHAREpct",
        "common": ("task", "groups", "image_size", "init", "arch", "label_fraction", "views", *TRAINING),
        "bare": ("data", "finetune", "run"),
        "refused": NEEDS_LABELS,
        "data": "optional",
        "examples": [
            "simclr-mri finetune Dataset/ --init runs/ssl --label-fraction 0.1",
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
            "simclr-mri predict runs/clf New/ --groups '(sub-\\d+)' --out a.parquet",
        ],
    },
    "evaluate": {
        "help": "scores of a classifier, by slice and by subject",
        "out": "evaluation_PART in the model's folder",
        "common": ("on", "n_bootstrap", "precision", "task", "groups", "labels", "out"),
        "bare": ("evaluate", "data", "run"),
        "refused": {**NEEDS_LABELS, **NOT_RESUMED, **THE_MODELS_OWN},
        "data": "optional",
        "model": True,
        "examples": ["simclr-mri evaluate runs/clf", "simclr-mri evaluate runs/clf Other/ --on test"],
    },
    "explain": {
        "help": "heat maps of a classifier",
        "out": "heat_maps in the model's folder",
        "common": ("on", "n_images", "layer", "method", "target", "checks", "groups", "labels", "out"),
        "bare": ("explain", "data", "run"),
        "refused": {**NEEDS_LABELS, **NOT_RESUMED, **THE_MODELS_OWN},
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
        "examples": ["simclr-mri export runs/clf", "simclr-mri export runs/clf --out resnet.safetensors"],
    },
    "runs": {
        "help": "runs with their scores and sizes",
        "bare": ("runs",),
        "examples": ["simclr-mri runs", "simclr-mri runs --under /data/experiments", "simclr-mri runs --prune"],
    },
    "study": {
        "help": "starts x label fractions x seeds x splits, one table",
        "out": "runs/study",
        "common": (
            "inits",
            "label_fractions",
            "seeds",
            "splits",
            "lrs",
            *DATA,
            "pretrain.arch",
            "pretrain.epochs",
            "finetune.arch",
            "finetune.epochs",
            "out",
            "resume",
        ),
        "bare": ("study", "data", "run"),
        "prefixed": ("pretrain", "finetune"),
        "refused": {**EVERY_ARM, **NEEDS_LABELS, "fold": "all folds of --splits are tested"},
        "data": "required",
        "examples": [
            "simclr-mri study Dataset/ --recipe quick --image-size 64 --out runs/study",
            "simclr-mri study Dataset/ --label-fractions 0.1 1 --seeds 3",
            "simclr-mri study Dataset/ --task 3class --splits 5 --lrs 1e-4 1e-3",
        ],
    },
    "label-curve": {
        "help": "what pretrained features are worth with few labelled subjects, in minutes",
        "out": "runs/label_curve",
        "common": (
            "starts",
            "n_labelled",
            "draws",
            "splits",
            "slices",
            "layer",
            *DATA,
            "pretrain.arch",
            "pretrain.epochs",
            "out",
        ),
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
            "simclr-mri label-curve Dataset/ --task cdr0 --starts pixels random",
            "simclr-mri label-curve Dataset/ --image-size 64 --pretrain.epochs 20",
            "simclr-mri label-curve Dataset/ --starts runs/ssl --n-labelled 4 8 16",
        ],
    },
    "bench": {
        "help": "how fast training and inference are on this machine",
        "out": "bench",
        "refused": NOT_RESUMED,
        "bare": ("bench", "run"),
        "examples": [
            "simclr-mri bench --precision fp32 bf16",
            "simclr-mri bench --rows resnet18 --n-jobs 1 --layers",
            "simclr-mri bench --peer",
        ],
    },
    "help": {
        "help": "options of a command, or this list",
        "bare": (),
        "words": {"topic": "COMMAND"},
        "examples": ["simclr-mri help", "simclr-mri help pretrain", "simclr-mri help pretrain --all"],
    },
    "completion": {
        "help": "a script that lets the shell complete commands, options and files",
        "bare": (),
        "words": {"shell": "SHELL"},
        "examples": [
            'eval "$(simclr-mri completion bash)"   # in ~/.bashrc',
            'eval "$(simclr-mri completion zsh)"    # in ~/.zshrc, after compinit',
            "simclr-mri completion fish | source     # in ~/.config/fish/config.fish",
        ],
    },
}
