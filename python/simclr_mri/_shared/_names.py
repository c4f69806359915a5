"""Names and limits that several rooms share: architectures, their stages, precisions, threads and seeds."""

from __future__ import annotations

from typing import Literal, get_args

ARCHS = ("resnet18", "resnet34", "resnet50", "resnet101")


LAYERS = ("stem", "layer1", "layer2", "layer3", "layer4")


CAM_METHODS = ("gradcam", "gradcam++", "hirescam", "layercam", "eigencam")


TRACKERS = ("tensorboard", "mlflow", "wandb")


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
