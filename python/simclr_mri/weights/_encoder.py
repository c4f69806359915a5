"""Finds the ResNet encoder among the tensors of a file, whatever the program that wrote it called them.

Training programs wrap the same network differently: under `state_dict`, `model` or any other key; behind `module.`
(DataParallel) or `_orig_mod.` (torch.compile); as `backbone`, `encoder_q`, `online_network`, `student`; with
torchvision's names, as the children 0 to 7 of an `nn.Sequential`, or with those of Hugging Face. An encoder is
thus recognised by its structure: a 7 x 7 stem and all that belongs to it, with the shapes of He et al. (CVPR 2016).

Where a file holds several, as methods with a momentum copy do, the one that their authors evaluate is taken: the query
encoder of MoCo, the online network of BYOL, the teacher of DINO, the running average where it is stored apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from ._errors import CheckpointError

BLOCKS = {
    "resnet18": (False, (2, 2, 2, 2)),
    "resnet34": (False, (3, 4, 6, 3)),
    "resnet50": (True, (3, 4, 6, 3)),
    "resnet101": (True, (3, 4, 23, 3)),
}
"""Whether its blocks are bottlenecks, and how many there are in each stage."""

_WRAPPED = {"module", "_orig_mod", "_modules", "_parameters", "_buffers"}  # segments that wrappers add, at any level
_BN = ("weight", "bias", "running_mean", "running_var")
_CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
_HUGGING_FACE = (
    (re.compile(r"embedder\.embedder\.convolution\."), "conv1."),
    (re.compile(r"embedder\.embedder\.normalization\."), "bn1."),
    (re.compile(r"encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.convolution\."), r"layer<\1>.\2.downsample.0."),
    (re.compile(r"encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.normalization\."), r"layer<\1>.\2.downsample.1."),
    (re.compile(r"encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.(\d+)\.convolution\."), r"layer<\1>.\2.conv<\3>."),
    (re.compile(r"encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.(\d+)\.normalization\."), r"layer<\1>.\2.bn<\3>."),
)
_STEMS = ("conv1.weight", "0.weight", "embedder.embedder.convolution.weight")
# The first word that is found in an encoder's prefix ranks it; no word at all stands between the two lists.
_PREFERRED = ("best", "ema", "teacher", "online", "encoder_q", "query")
_SECOND = ("student", "momentum", "target", "encoder_k", "key", "optimizer")
_BODY = re.compile(r"(conv1|bn1|layer[1-4])\.")


class HasShape(Protocol):
    """All that is looked at: an array, or a tensor that is still in its file."""

    @property
    def shape(self) -> tuple[int, ...]: ...


class NoEncoderError(CheckpointError):
    """There is no ResNet among the tensors, or none that this package can compute."""


@dataclass(frozen=True)
class Encoder:
    """Where a file keeps its encoder.

    Attributes
    ----------
    arch : str
    names : dict of str to str
        Torchvision's name of each tensor, and the name that it has in the file.
    prefix : str
        What the names in the file begin with, as written there.
    left_out : tuple of str
        Groups of tensors that are not used, such as "fc" or "state_dict.encoder_k".
    is_plain : bool
        As torchvision or this package writes it: nothing to tell.
    """

    arch: str
    names: dict[str, str]
    prefix: str
    left_out: tuple[str, ...]
    is_plain: bool

    def __str__(self) -> str:
        where = f" under '{self.prefix}'" if self.prefix else ""
        more = f"; left out: {', '.join(self.left_out)}" if self.left_out else ""
        return f"took the {self.arch}{where}{more}"


def expected_shapes(arch: str, in_channels: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the encoder's tensors under torchvision's names.

    Examples
    --------
    >>> len(expected_shapes("resnet50", 3))
    265
    """
    bottleneck, stages = BLOCKS[arch]
    shapes: dict[str, tuple[int, ...]] = {}

    def conv_bn(conv: str, bn: str, *shape: int) -> None:
        shapes[f"{conv}.weight"] = shape
        shapes.update({f"{bn}.{name}": shape[:1] for name in _BN})

    conv_bn("conv1", "bn1", 64, in_channels, 7, 7)
    channels = 64
    for stage, n_blocks in enumerate(stages):
        width, out = 64 << stage, (256 if bottleneck else 64) << stage
        for i in range(n_blocks):
            block = f"layer{stage + 1}.{i}"
            sizes = (
                [(channels, width, 1), (width, width, 3), (width, out, 1)]
                if bottleneck
                else [(channels, width, 3), (width, out, 3)]
            )
            for j, (c, k, window) in enumerate(sizes, 1):
                conv_bn(f"{block}.conv{j}", f"{block}.bn{j}", k, c, window, window)
            if i == 0 and (stage > 0 or channels != out):
                conv_bn(f"{block}.downsample.0", f"{block}.downsample.1", out, channels, 1, 1)
            channels = out
    return shapes


def find_encoder(tensors: Mapping[str, HasShape]) -> Encoder:
    """The ResNet encoder among the tensors of a file.

    Parameters
    ----------
    tensors : mapping of str to anything with a shape
        Under the names that the file gives them, levels joined by dots.

    Returns
    -------
    Encoder

    Raises
    ------
    NoEncoderError
        Says what was found instead, and why it cannot be used.

    References
    ----------
    He et al., Deep residual learning for image recognition, CVPR 2016, table 1.

    Examples
    --------
    >>> import numpy as np
    >>> shapes = expected_shapes("resnet18", 3)
    >>> stored = {f"state_dict.module.encoder_q.{name}": np.zeros(shape) for name, shape in shapes.items()}
    >>> stored["state_dict.module.queue"] = np.zeros((128, 8))
    >>> print(find_encoder(stored))
    took the resnet18 under 'state_dict.module.encoder_q.'; left out: state_dict.module.queue
    """
    candidates = list(_candidates(tensors))
    encoders, reasons = [], []
    for prefix, names in candidates:
        try:
            encoders.append((prefix, names, _arch(names, tensors)))
        except NoEncoderError as error:
            reasons.append(f"{prefix or 'it'}: {error}" if prefix else str(error))
    if not encoders:
        raise NoEncoderError(reasons[0] if reasons else _nothing(tensors))
    prefix, names, arch = min(encoders, key=lambda found: (_rank(found[0]), found[0].count("."), found[0]))
    left_out = _groups(set(tensors) - set(names.values()), prefix)
    is_own = all(stored == name for name, stored in names.items())
    plain = is_own and not prefix and set(left_out) <= {"fc", "projection"}
    return Encoder(arch, {name: names[name] for name in expected_shapes(arch, 1)}, prefix, left_out, plain)


def _candidates(tensors: Mapping[str, HasShape]) -> Iterable[tuple[str, dict[str, str]]]:
    """(prefix, torchvision's name -> stored name) of every place where a stem is, with all that lies beside it."""
    plain = {name: ".".join(part for part in name.split(".") if part not in _WRAPPED) for name in tensors}
    seen = set()
    for stored, name in plain.items():
        for stem in _STEMS:
            root = name.removesuffix(stem)
            if name != root and (not root or root.endswith(".")) and len(tensors[stored].shape) >= 4:
                if (root, stem) in seen:
                    continue
                seen.add((root, stem))
                names: dict[str, str] = {}
                for other, its in plain.items():
                    if its.startswith(root) and (short := _torchvision(its[len(root) :], stem)):
                        names.setdefault(short, other)
                if any(short.startswith("layer1.") for short in names):
                    yield _as_written(stored, stem), names


def _as_written(stored: str, stem: str) -> str:
    """What stands before the stem in the file, wrappers' segments included."""
    parts, count = stored.split("."), len(stem.split("."))
    while count and parts:
        count -= parts.pop() not in _WRAPPED
    return ".".join(parts) + "." if parts else ""


def _torchvision(name: str, stem: str) -> str | None:
    """Torchvision's name of a tensor beside the stem; None for what is no part of the body."""
    if stem == "0.weight":
        first, _, rest = name.partition(".")
        name = f"{_CHILDREN[first]}.{rest}" if first in _CHILDREN else ""
    elif stem.startswith("embedder"):
        for pattern, wanted in _HUGGING_FACE:
            if pattern.match(name):
                name = re.sub(r"<(\d+)>", lambda m: str(int(m[1]) + 1), pattern.sub(wanted, name))
                break
        else:
            return None
    if not _BODY.match(name) or name.endswith("num_batches_tracked"):
        return None
    return name.replace(".shortcut.", ".downsample.")


def _arch(names: Mapping[str, str], tensors: Mapping[str, HasShape]) -> str:
    """Which ResNet these tensors are, whole and with the right shapes; NoEncoderError says what is amiss."""
    shapes = {name: tuple(tensors[stored].shape) for name, stored in names.items()}
    stem = shapes.get("conv1.weight", ())
    if len(stem) == 5:
        raise NoEncoderError(f"a network over volumes (conv1.weight of shape {stem}), not over slices")
    if stem[2:] != (7, 7):
        raise NoEncoderError(
            f"its first convolution is {' x '.join(map(str, stem[2:]))} (conv1.weight of shape {stem}); only ResNets "
            "with the 7 x 7 stem of ImageNet can be used"
        )
    found = tuple(len({name.split(".")[1] for name in shapes if name.startswith(f"layer{i}.")}) for i in (1, 2, 3, 4))
    bottleneck = "layer1.0.conv3.weight" in shapes
    arch = next((arch for arch, about in BLOCKS.items() if about == (bottleneck, found)), None)
    if arch is None:
        kind = "bottleneck" if bottleneck else "basic"
        raise NoEncoderError(
            f"a ResNet of {'-'.join(map(str, found))} {kind} blocks; expected one of {', '.join(BLOCKS)}"
        )
    expected = expected_shapes(arch, stem[1])
    lacking = [name for name in expected if name not in shapes]
    if lacking:
        hint = " (a network without batch norm's running statistics)" if all("running" in n for n in lacking) else ""
        raise NoEncoderError(f"a {arch} that lacks {_some(lacking)}{hint}")
    extra = sorted(set(shapes) - set(expected))
    if extra:
        raise NoEncoderError(f"a variant of {arch} with {_some(extra)}, which a ResNet does not have")
    for name, shape in expected.items():
        if shapes[name] != shape:
            kind = "grouped (ResNeXt) or wide" if name.startswith("layer") and bottleneck else "another"
            raise NoEncoderError(f"a {kind} variant of {arch}: {name} has shape {shapes[name]}, expected {shape}")
    return arch


def _rank(prefix: str) -> int:
    words = prefix.lower()
    for rank, word in enumerate(_PREFERRED):
        if re.search(rf"(?<![a-z]){word}(?![a-z])", words):
            return rank
    if any(re.search(rf"(?<![a-z]){word}(?![a-z])", words) for word in _SECOND):
        return len(_PREFERRED) + 1
    return len(_PREFERRED)


def _groups(names: Iterable[str], prefix: str) -> tuple[str, ...]:
    """What is left out, by the first part of the name that tells it from the encoder; counters are not worth a word."""
    groups: dict[str, None] = {}
    for name in sorted(names):
        if name.endswith("num_batches_tracked"):
            continue
        parts, ours = name.split("."), prefix.split(".")
        same = 0
        while same < len(parts) - 1 and same < len(ours) - 1 and parts[same] == ours[same]:
            same += 1
        groups[".".join(parts[: same + 1])] = None
    return tuple(groups)


def _nothing(tensors: Mapping[str, HasShape]) -> str:
    if not tensors:
        return "holds no tensors"
    return (
        f"expected a ResNet under torchvision's names (conv1.weight, layer1.0.conv1.weight, ...) or another program's, "
        f"found {_some(list(tensors), 4)}"
    )


def _some(names: list[str], n: int = 3) -> str:
    return ", ".join(names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "")


__all__ = ["BLOCKS", "Encoder", "NoEncoderError", "expected_shapes", "find_encoder"]
