"""Types of the C core. The package's own modules are the documented way in."""

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, Protocol, TypedDict, overload

import numpy as np
from numpy.typing import NDArray

StrPath = str | bytes | PathLike[str] | PathLike[bytes]
ValueRange = Literal["percentile"] | tuple[int, int] | None

class DecodeError(ValueError):
    """An image file's content is not what its format says."""

class _CpuInfo(TypedDict):
    cpu: str
    isa_supported: str
    isa: str
    threads: int
    blas: str
    png: str
    jpeg: str

def cpu_info() -> _CpuInfo:
    """cpu, isa_supported, isa (in use), threads, and the libraries: blas, png, jpeg."""

def measured_peak(
    precision: Literal["fp32", "bf16"] = "fp32", n_threads: int = 0, seconds: float = 0.2, *, mean: bool = False
) -> float:
    """Flops a second of all threads together: independent products on registers, the best of many short jobs.

    With `mean` their mean: what the machine had to give meanwhile, what other programs took left out.
    """

def xxh64(data: bytes | bytearray | memoryview, /) -> int:
    """XXH64 of bytes: a digest of 64 bits that finds damage, not malice."""

def bf16_from_float(x: NDArray[np.float32], /) -> NDArray[np.uint16]:
    """x rounded to bfloat16, ties to even: the upper halves of float32 numbers."""

def bf16_to_float(x: NDArray[np.uint16], /) -> NDArray[np.float32]:
    """The bfloat16 numbers x, exactly."""

class Network:
    """ResNet weights and running statistics, with a head. One caller at a time: a second thread waits for the lock."""

    def __init__(
        self,
        depth: int,
        *,
        image_size: int,
        in_channels: int = 1,
        features: str = "avgpool",
        head: Sequence[tuple[int, float, bool]] = (),
        head_name: str = "fc",
        seed: int | None = 0,
        n_threads: int = 0,
    ) -> None:
        """depth 18, 34, 50 or 101; features "avgpool" or "flatten"; head rows are (out_features, dropout, relu).

        seed None draws no weights: they are 0 until others are loaded.
        """

    @property
    def table(self) -> list[tuple[str, tuple[int, ...], bool, bool]]:
        """(name, shape, is_buffer, decays) for every parameter and buffer, in order."""
    @property
    def n_parameters(self) -> int: ...
    def state(self) -> dict[str, NDArray[np.float32]]:
        """Copies of all parameters and buffers under torchvision's names and in its layouts."""
    def tensor(self, name: str, /) -> NDArray[np.float32]:
        """A copy of one of them; KeyError if `table` lacks the name."""
    def load(self, state: Mapping[str, NDArray[np.float32]], *, strict: bool = True) -> tuple[list[str], list[str]]:
        """All or nothing. strict: names must agree exactly, else returns (missing, unexpected); shapes always must."""
    def forward(
        self,
        images: NDArray[np.float32],
        *,
        output: str = "head",
        batch_size: int = 64,
        precision: Literal["fp32", "bf16"] = "fp32",
    ) -> NDArray[np.float32]:
        """images (n, H, W, C) -> head outputs, or "features", of shape (n, D); running statistics, no dropout.
        precision: of the activations, "fp32" or "bf16"."""
    def explain(
        self,
        images: NDArray[np.float32],
        targets: NDArray[np.int64] | None,
        *,
        stage: str = "layer4",
        batch_size: int = 16,
        precision: Literal["fp32", "bf16"] = "fp32",
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """(activations (n, h, w, C), gradients of the target logit of the same shape, outputs (n, K)); targets None:
        the largest output. stage: "stem", "layer1" ... "layer4"."""
    def memory_bytes(
        self,
        kind: str,
        batch: int,
        bn_groups: int = 1,
        precision: Literal["fp32", "bf16"] = "fp32",
        frozen_stages: int = 0,
    ) -> int:
        """What a plan of kind "infer", "train" or "explain" would allocate."""
    def profile(self) -> list[tuple[str, str, float, float]]:
        """(operation, layer, seconds, flops) of the latest batch that went forward; flops for convolutions only."""

def tree_sum(rows: NDArray[np.float32] | NDArray[np.uint16], /) -> None:
    """rows[0] becomes the sum of all, ((0 + 1) + (2 + 3)) + 4; the others are overwritten. uint16 rows hold bfloat16
    numbers; each of their sums is rounded."""

class _Ranks(Protocol):
    """Several processes that train one network together; include/smri/comm.h says what the calls are to do."""

    @property
    def rank(self) -> int: ...
    @property
    def size(self) -> int: ...
    def gather(self, data: NDArray[np.float32], bounds: list[int], /) -> None:
        """data[bounds[r]:bounds[r + 1]] of rank r, to all; in place."""
    def begin_sum(self, data: NDArray[np.float32], n_terms: int, wire: str, /) -> None:
        """Over the first n_terms ranks, as tree_sum, at all ranks; in place, done when finish_sums returns. With the
        wire "bf16" the numbers are bfloat16 already, and every sum is rounded."""
    def finish_sums(self) -> None: ...
    def agree(self, status: int, message: str, /) -> None:
        """Returns if all ranks have status 0, or if this rank's failure is the one that counts; else raises."""

class Trainer:
    """Optimizer state and activations for training `network` with batches of at most `batch` images."""

    def __init__(
        self,
        network: Network,
        *,
        optimizer: str = "sgd",
        sharpness: str = "none",
        nesterov: bool = False,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decay_all: bool = False,
        bn_momentum: float = 0.1,
        batch: int,
        bn_groups: int = 1,
        micro_batch: int = 0,
        precision: Literal["fp32", "bf16"] = "fp32",
        frozen_stages: int = 0,
        stage_rates: Sequence[float] | None = None,
        ranks: _Ranks | None = None,
        wire: Literal["fp32", "bf16"] = "fp32",
    ) -> None:
        """optimizer "sgd", "adamw" or "lars"; sharpness "none", "sam", "asam" (every tensor scaled by |w|) or
        "asam-authors" (weights by |w| + 0.01, biases by 1); batch counts images (2 x pairs for SimCLR).
        micro_batch (0: all): the most images in memory at once, for one more forward pass; the gradients are those of
        the whole batch with bn_groups = batch / micro_batch. precision "bf16": activations and their gradients are
        bfloat16; weights, their gradients, statistics, losses and the optimizer's state are fp32 as ever.
        frozen_stages (0 to 5: none, stem, stem and layer1, ...): use their running statistics and stay as they
        are, without a backward pass. stage_rates: by what lr is multiplied for stem, layer1 ... layer4 and the head.
        ranks: other processes that share the micro-batches of every step, to the bits of one process; all are given
        the same arguments, of the images their own `rows` only. wire "bf16": gradients of micro-batches, and every sum
        of two of them, are rounded to bfloat16."""
    def rows(self, n: int, /) -> tuple[int, int]:
        """Begin and end of the images of a batch of n that a step reads at this rank; the others need not be there."""
    def simclr_step(
        self,
        views: NDArray[np.float32],
        *,
        lr: float,
        momentum: float,
        rho: float = 0.0,
        temperature: float,
        seed: int,
        step: int,
        groups: NDArray[np.int32] | None = None,
        standardize: bool = False,
    ) -> dict[str, float]:
        """views (2n, H, W, C), rows i and i + n a pair -> {"loss", "gradient_norm"}. groups (2n,): rows of one group
        are no negatives of each other. standardize: batch norm without parameters before the loss. FloatingPointError
        when not finite, KeyboardInterrupt on Ctrl-C; in both cases the model is as before the step."""
    def supervised_step(
        self,
        images: NDArray[np.float32],
        labels: NDArray[np.int32],
        *,
        lr: float,
        momentum: float,
        rho: float = 0.0,
        class_weights: NDArray[np.float32] | None = None,
        label_smoothing: float = 0.0,
        seed: int,
        step: int,
    ) -> dict[str, float]:
        """images (n, H, W, C), labels (n,) -> {"loss", "gradient_norm", "n_correct"}."""
    def output(self) -> NDArray[np.float32]:
        """Copy of the embeddings or logits of the latest step's first pass, (n, D)."""
    def gradients(self) -> dict[str, NDArray[np.float32]]:
        """Copies of the latest gradients under the parameters' names (SAM: of the second pass)."""
    def state(self) -> dict[str, NDArray]:
        """Optimizer state: "momentum/<name>" or "exp_avg/<name>", "exp_avg_sq/<name>", and "step" (int64, ())."""
    def tensor(self, name: str, /) -> NDArray[np.float32]:
        """A copy of one tensor of it; KeyError if `table` lacks the name."""
    def load(self, state: Mapping[str, NDArray]) -> None:
        """The reverse; all or nothing."""
    def profile(self) -> list[tuple[str, str, float, float]]:
        """(operation, layer, seconds, flops) of the latest pass, forward and backward; with SAM, of the second one."""
    @property
    def table(self) -> list[tuple[str, tuple[int, ...]]]:
        """(name, shape) of each float32 tensor of the optimizer's state, in order."""
    @property
    def memory_bytes(self) -> int:
        """What this trainer allocated: activations, gradients, optimizer state, SAM's copy."""
    @property
    def steps(self) -> int:
        """Steps that were done."""

ConvShape = tuple[int, int, int, int, int, int, int, int, int]
"""(N, H, W, C, K, R, S, stride, pad)"""

Activations = NDArray[np.float32] | NDArray[np.uint16]
"""float32, or with precision "bf16" the upper halves of float32 numbers; weights and their gradients are float32."""

def conv2d_forward(
    shape: ConvShape,
    x: Activations,
    w: NDArray[np.float32],
    *,
    out: Activations | None = None,
    n_threads: int = 0,
    method: str = "auto",
    workspace: NDArray[np.uint8] | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
    scale: NDArray[np.float32] | None = None,
    shift: NDArray[np.float32] | None = None,
    relu: bool = False,
    accumulate: bool = False,
    kept: Activations | None = None,
    seen: Activations | None = None,
) -> Activations:
    """y [N, P, Q, K] of x [N, H, W, C] and packed weights [ceil(K/32), R*S, C, 32].

    With scale and shift [K]: scale * y + shift, plus what `out` holds if `accumulate`, no less than 0 if `relu`.
    For tests, of 1x1 windows: with `kept`, of x's shape, x is made part by part on the way, and what the maker is to
    keep of it is added to `kept`, as integers; what is shown of the result on the way is added to `seen`, of its shape.
    """

def conv2d_backward_data(
    shape: ConvShape,
    dy: Activations,
    w: NDArray[np.float32],
    *,
    out: Activations | None = None,
    accumulate: bool = False,
    n_threads: int = 0,
    method: str = "auto",
    workspace: NDArray[np.uint8] | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
    kept: Activations | None = None,
    seen: Activations | None = None,
) -> Activations:
    """dx [N, H, W, C] of dy [N, P, Q, K], added to `out` when accumulate.

    For tests, `kept` and `seen` as in forward.
    """

def conv2d_backward_weights(
    shape: ConvShape,
    x: Activations,
    dy: Activations,
    *,
    out: NDArray[np.float32] | None = None,
    n_threads: int = 0,
    method: str = "auto",
    workspace: NDArray[np.uint8] | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
) -> NDArray[np.float32]:
    """dw, packed [ceil(K/32), R*S, C, 32]."""

def conv2d_pack(w: NDArray[np.float32], /) -> NDArray[np.float32]:
    """[K, C, R, S] to [ceil(K/32), R*S, C, 32], padded with zeros."""

def conv2d_plan(
    shape: ConvShape,
    n_threads: int = 0,
    method: str = "auto",
    *,
    precision: Literal["fp32", "bf16"] = "fp32",
) -> list[tuple[str, int] | None]:
    """Method and workspace bytes of forward, backward-data, backward-weights; None where `method` cannot."""

# Batch normalisation, activations and pooling: C-contiguous, the activations of a call all float32 or all bfloat16
# (uint16); `out` may be an input where shapes agree.

# Losses and class activation maps.

def cam_map(
    activations: NDArray[np.float32],
    gradients: NDArray[np.float32] | None,
    method: str = "gradcam",
    normalise: bool = False,
    n_threads: int = 1,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Maps (N, h, w) of activations (N, h, w, C): gradcam, gradcam++, hirescam, layercam or eigencam."""

def upsample(
    maps: NDArray[np.float32], rows: int, cols: int, n_threads: int = 1, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Bilinear enlargement of maps (N, h, w) to (N, rows, cols), half-pixel centres."""

# Optimizers over flat float32 arrays, in place, and schedules. `start`: the weights that the step begins from.

def cosine_rate(
    step: int,
    total_steps: int,
    peak_lr: float,
    warmup_steps: int = 0,
    final_lr: float = 0.0,
    momentum: float = 0.9,
) -> tuple[float, float]:
    """Learning rate and momentum of a step, counted from 0: linear warm-up, then half a cosine."""

def one_cycle_rate(
    step: int,
    total_steps: int,
    peak_lr: float,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    low_momentum: float = 0.85,
    high_momentum: float = 0.95,
) -> tuple[float, float]:
    """torch.optim.lr_scheduler.OneCycleLR with its cosine phases, momentum cycled the other way."""

def read_image(
    path: StrPath, channels: int = 0, dtype: Literal["uint8", "float32"] = "uint8", max_pixels: int = 0
) -> NDArray[np.uint8] | NDArray[np.float32]:
    """decode_image of a file; OSError with errno and path where the system refuses it."""

@overload
def decode_files(
    paths: Iterable[StrPath],
    channels: int = 0,
    size: int | tuple[int, int] | None = None,
    n_threads: int = 0,
    fit: Literal["pad", "crop", "stretch"] = "stretch",
    range: ValueRange = None,
    facts: Literal[False] = False,
    max_pixels: int = 0,
) -> tuple[NDArray[np.uint8], list[tuple[int, str, str]]]: ...
@overload
def decode_files(
    paths: Iterable[StrPath],
    channels: int = 0,
    size: int | tuple[int, int] | None = None,
    n_threads: int = 0,
    fit: Literal["pad", "crop", "stretch"] = "stretch",
    range: ValueRange = None,
    *,
    facts: Literal[True],
    max_pixels: int = 0,
) -> tuple[NDArray[np.uint8], list[tuple[int, str, str]], NDArray[np.uint16]]:
    """All files as uint8 (N, H, W, C), and one (index, exception name, message) for each file that failed.

    With size (rows, columns) every image is resized, antialiased; without it an image of another size than the first
    is a failure. `fit` says what happens to other proportions: black beside the whole image, its centre, or stretching.
    `range` as in decode_image. The rows of failed images are zero; if all fail the shape is (N, 0, 0, channels). facts
    adds (N, 5): bits (8 or 16, 0 if it failed), bits that the file says mean something (0: not said), least and
    greatest sample (of 16 bits; else 0, 255), and 1 where foreign bytes were passed over in a JPEG's header.
    """

def encode_png(pixels: NDArray[np.uint8] | NDArray[np.uint16], compression: int = 6) -> bytes:
    """A PNG of pixels (H, W), (H, W, 1) or (H, W, 3), uint8; gray may be uint16."""

def write_png(
    path: StrPath, pixels: NDArray[np.uint8] | NDArray[np.uint16], compression: int = 6, sync: bool = True
) -> None:
    """encode_png to a file, which is replaced in one step or left as it was (OSError).

    Without `sync` it does not wait for the disk: for files in thousands, which are synced together at the end.
    """

def replace_file(path: StrPath, data: bytes | bytearray | memoryview, /) -> None:
    """Replace a file in one step: temporary file in the same folder, fsync, rename. OSError leaves it as it was."""

def resize(images: NDArray[Any], size: int | tuple[int, int], n_threads: int = 0) -> NDArray[Any]:
    """Antialiased bilinear resizing of (N, H, W, C), uint8 (as Pillow's BILINEAR) or float32."""

def warp_affine(images: NDArray[np.float32], maps: NDArray[np.float64], nearest: bool = False) -> NDArray[np.float32]:
    """Images (P, H, W) moved by maps (P, 6), bilinear; beyond the border 0, or the nearest pixel."""

def register_affine(
    a: NDArray[np.float32], b: NDArray[np.float32], maps: NDArray[np.float64], steps: int, margin: int = 4
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Maps (P, 6) that lay a over b, both (P, H, W), improved by Gauss-Newton; and the correlations (P,) reached."""

def local_contrast(
    gray: NDArray[np.float32], fine_t: NDArray[np.float32], coarse_t: NDArray[np.float32], floor: float, /
) -> NDArray[np.float32]:
    """Differences of Gaussians of (N, S, S) over their own local strength; transposed blurs (S, S)."""

def polar_spectra(
    pictures: NDArray[np.float32],
    row: int,
    column: int,
    window: NDArray[np.float32],
    waves: NDArray[np.float32],
    index: NDArray[np.int32],
    weights: NDArray[np.float32],
    floor: float,
    /,
) -> NDArray[np.float32]:
    """Magnitudes (N, readings, n) of the spectra of a windowed square (m, m), read at index (readings, 4, n)."""

def polar_descriptors(
    maps: NDArray[np.float32], angles: NDArray[np.float32], rings: NDArray[np.float32], n_angular: int, /
) -> NDArray[np.float32]:
    """What turning, mirroring and zooming leave of maps (N, R, A): rows of length 1."""

def polar_low(
    maps: NDArray[np.float32], angles: NDArray[np.float32], rings: NDArray[np.float32], n_angular: int, /
) -> NDArray[np.float32]:
    """Complex low frequencies (N, 2 k - 1, n_angular, 2) of maps (N, R, A), over their lengths."""

def low_heights(
    a: NDArray[np.float32], b: NDArray[np.float32], rings: NDArray[np.float32], angles: NDArray[np.float32], /
) -> NDArray[np.float32]:
    """Highest correlation (N,) of low frequencies over shifts and angles, of a as it is and mirrored."""

def augment_batch(
    images: NDArray[np.uint8],
    indices: NDArray[np.int64],
    seed: int = 0,
    epoch: int = 0,
    view: int = 0,
    samples: NDArray[np.int64] | None = None,
    n_threads: int = 0,
    out: NDArray[np.float32] | None = None,
    *,
    size: int | tuple[int, int] | None = None,
    scale: tuple[float, float] = (1, 1),
    ratio: tuple[float, float] = (1, 1),
    flip_horizontal: float = 0,
    flip_vertical: float = 0,
    rotation_deg: float = 0,
    shift: float = 0,
    brightness: tuple[float, float] = (1, 1),
    contrast: tuple[float, float] = (1, 1),
    gamma: tuple[float, float] = (1, 1),
    blur_p: float = 0,
    blur_sigma: tuple[float, float] = (1, 1),
    noise_sd: float = 0,
    mean: float | Sequence[float] = 0,
    std: float | Sequence[float] = 1,
) -> NDArray[np.float32]:
    """View number `view` of images[indices] as float32 (n, rows, columns, C); the options are those of augment.h.

    images: the cache (M, H, W, C). samples: the names of the random streams (n,), the indices if None. A view depends
    on its image, the options, seed, epoch, sample and view only.
    """

def gather_batch(
    images: NDArray[np.uint8],
    indices: NDArray[np.int64],
    mean: float | Sequence[float] = 0,
    std: float | Sequence[float] = 1,
    n_threads: int = 0,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """(images[indices] / 255 - mean) / std as float32 (n, H, W, C)."""
