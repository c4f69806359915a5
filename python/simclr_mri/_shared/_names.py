"""Names and limits that several rooms share: architectures, their stages, precisions, threads and seeds."""

from __future__ import annotations

from typing import Literal, get_args

Arch = Literal["resnet18", "resnet34", "resnet50", "resnet101"]
ARCHS: tuple[Arch, ...] = get_args(Arch)


Layer = Literal["stem", "layer1", "layer2", "layer3", "layer4"]
LAYERS: tuple[Layer, ...] = get_args(Layer)


# The words that options take, each written once: types here, choices of the run-time check and of the shell from these.
BenchRow = Literal["supervised", "simclr", "inference", "resnet18"]
By = Literal["subject", "image"]
Channels = Literal[1, 3]
ClassWeight = Literal["balanced"]
CurveMetric = Literal["auc", "balanced_accuracy"]
CurveProbe = Literal["linear", "knn"]
Embedding = Literal["pca", "tsne"]
Direction = Literal["min", "max"]  # which values of a monitored column are better
Features = Literal["avgpool", "flatten"]
Head = Literal["mlp", "paper"]
Intensities = Literal["as_is", "subject"]
Level = Literal["slice", "subject"]
Metric = Literal["accuracy", "balanced_accuracy", "macro_f1", "auc", "kappa", "brier", "ece"]
Optimizer = Literal["sgd", "adamw", "lars"]
Part = Literal["train", "val", "test", "all"]
Plane = Literal["axial", "coronal", "sagittal"]
Positives = Literal["same_slice", "adjacent", "same_subject"]
ProbePool = Literal["slice", "mean", "stack"]
Sampling = Literal["shuffle", "balanced"]
ScheduleName = Literal["constant", "cosine", "onecycle"]
Selection = Literal["balanced_accuracy", "accuracy", "loss", "last"]
SelectOn = Literal["val", "test"]
Sharpness = Literal["none", "sam", "asam", "asam-authors"]
SubjectPool = Literal["mean", "stack"]
WandBMode = Literal["online", "offline", "disabled"]
Views = Literal["mri", "intensity", "crop", "light", "none"]


REMEMBERED = "custom: "
"""In front of the name of a callable option, in checkpoints, which cannot hold the callable itself."""


CamMethod = Literal["gradcam", "gradcam++", "hirescam", "layercam", "eigencam"]
CAM_METHODS: tuple[CamMethod, ...] = get_args(CamMethod)


Tracker = Literal["tensorboard", "mlflow", "wandb"]
TRACKERS: tuple[Tracker, ...] = get_args(Tracker)


Precision = Literal["fp32", "bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


Fit = Literal["pad", "crop", "stretch"]  # what becomes of images that are not square


Recipe = Literal["default", "paper", "quick"]


Resume = Literal["auto", "never"]  # what becomes of a run that is in the folder already


OnError = Literal["raise", "warn"]  # what becomes of files that cannot be read


MAX_THREADS = 256  # the core's


MAX_SEED = 2**32 - 1  # scikit-learn's


# Numbers in a network's file without its head, three channels: weights, biases, running statistics.
STORED = {"resnet18": 11_186_112, "resnet34": 21_301_696, "resnet50": 23_561_152, "resnet101": 42_605_504}


FEATURE_SIZE = {"resnet18": 512, "resnet34": 512, "resnet50": 2048, "resnet101": 2048}
