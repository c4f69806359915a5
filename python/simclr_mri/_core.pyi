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

def set_isa(name: str, /) -> None:
    """Cap the kernels at "ref", "avx2", "avx512", "avx512bf16" or "amx"."""

def measured_peak(
    precision: Literal["fp32", "bf16"] = "fp32", n_threads: int = 0, seconds: float = 0.2, *, mean: bool = False
) -> float:
    """Flops a second of all threads together: independent products on registers, the best of many short jobs.

    With `mean` their mean: what the machine had to give meanwhile, what other programs took left out.
    """

def cgroup_cpus(membership: str, mount: str, /) -> int | None:
    """The least CPU quota, in processors, of the cgroups that a file like /proc/self/cgroup names; None without one."""

def xxh64(data: bytes | bytearray | memoryview, /) -> int:
    """XXH64 of bytes: a digest of 64 bits that finds damage, not malice."""

def random_words(
    n: int, seed: int, epoch: int = 0, sample: int = 0, view: int = 0, purpose: int = 2
) -> NDArray[np.uint32]:
    """The first n words of a random stream."""

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
    x_scale: NDArray[np.float32] | None = None,
    x_shift: NDArray[np.float32] | None = None,
    kept: Activations | None = None,
    seen: Activations | None = None,
) -> Activations:
    """y [N, P, Q, K] of x [N, H, W, C] and packed weights [ceil(K/32), R*S, C, 32].

    With scale and shift [K]: scale * y + shift, plus what `out` holds if `accumulate`, no less than 0 if `relu`.
    With x_scale and x_shift [G, C]: of max(0, x_scale * x + x_shift), a row for each of G equal parts of the images.
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
    laid: Activations | None = None,
    seen: Activations | None = None,
) -> Activations:
    """dx [N, H, W, C] of dy [N, P, Q, K], added to `out` when accumulate.

    For tests, `kept` and `seen` as in forward; `laid` is what dx is added to, laid down part by part on the way.
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

def conv2d_unpack(packed: NDArray[np.float32], shape: tuple[int, int, int, int], /) -> NDArray[np.float32]:
    """Packed weights to [K, C, R, S]."""

def conv2d_plan(
    shape: ConvShape,
    n_threads: int = 0,
    method: str = "auto",
    *,
    precision: Literal["fp32", "bf16"] = "fp32",
    prologue: bool = False,
) -> list[tuple[str, int] | None]:
    """Method and workspace bytes of forward, backward-data, backward-weights; None where `method` cannot.

    With `prologue` forward's are those of a call with x_scale and x_shift.
    """

def conv2d_strided_scatter(
    shape: ConvShape,
    dense: Activations,
    *,
    n_threads: int = 0,
    precision: Literal["fp32", "bf16"] = "fp32",
) -> Activations:
    """dx [N, H, W, C] of a strided 1x1 convolution from its dense one's, [N, P, Q, C]: zero between the strides."""

def linear_forward(
    x: NDArray[np.float32],
    w: NDArray[np.float32],
    b: NDArray[np.float32] | None = None,
    *,
    out: NDArray[np.float32] | None = None,
    n_threads: int = 0,
) -> NDArray[np.float32]:
    """y [N, K] = x [N, C] w[K, C]^T + b [K]."""

def linear_backward(
    dy: NDArray[np.float32], x: NDArray[np.float32], w: NDArray[np.float32], *, n_threads: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """(dx [N, C], dw [K, C], db [K])."""

# Batch normalisation, activations and pooling: C-contiguous, the activations of a call all float32 or all bfloat16
# (uint16); `out` may be an input where shapes agree.

def batchnorm_statistics(
    x: Activations, n_threads: int = 1, part_rows: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and biased variance, each (groups, C), of x (groups, rows, C)."""

def batchnorm_update_running(
    running_mean: NDArray[np.float32],
    running_var: NDArray[np.float32],
    mean: NDArray[np.float32],
    var: NDArray[np.float32],
    momentum: float,
    rows: int,
) -> None:
    """Update running statistics (C,) in place from each group of mean and var (groups, C) in turn."""

def batchnorm_fold(
    gamma: NDArray[np.float32],
    beta: NDArray[np.float32],
    mean: NDArray[np.float32],
    var: NDArray[np.float32],
    eps: float = 1e-5,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scale and shift (groups, C) with scale * x + shift the normalised value."""

def scale_shift_add_relu(
    x: Activations,
    scale: NDArray[np.float32],
    shift: NDArray[np.float32],
    residual: Activations | None = None,
    residual_scale: NDArray[np.float32] | None = None,
    residual_shift: NDArray[np.float32] | None = None,
    relu: bool = False,
    n_threads: int = 1,
    out: Activations | None = None,
    mask: bool = False,
    made: Activations | None = None,
    made_rows: int = 0,
) -> Activations | tuple[Activations, NDArray[np.uint8]]:
    """scale * x + shift (+ residual, itself scaled and shifted if asked for), then ReLU if asked for. With
    `mask` also where that is positive, (groups, rows, ceil(C / 8)): bit c % 8 of byte c // 8. With made_rows in parts
    of so many rows, as for a convolution that they are on their way to; `made` gets them, too."""

def batchnorm_backward(
    dy: Activations,
    x: Activations,
    gamma: NDArray[np.float32],
    mean: NDArray[np.float32],
    var: NDArray[np.float32],
    scale: NDArray[np.float32],
    shift: NDArray[np.float32],
    eps: float = 1e-5,
    relu: bool = False,
    n_threads: int = 1,
    fixed: bool = False,
    out: Activations | None = None,
    mask: NDArray[np.uint8] | None = None,
    ds: Activations | None = None,
    part_rows: int = 0,
    made: Activations | None = None,
    made_rows: int = 0,
) -> tuple[NDArray, ...]:
    """dx (groups, rows, C), dgamma (C,), dbeta (C,); with `fixed`, mean and var do not depend on x.
    With the mask of `affine`, dy is masked by it first, and what is left comes last in the result, or in `ds`.
    With part_rows the sums are made in parts of so many rows, as a convolution makes them for a block's last norm; with
    made_rows dx is, for the one that it is on its way to, and `made` gets it, too."""

def relu_forward(
    x: NDArray[np.float32], n_threads: int = 1, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """max(0, x) of a flat array; NaN stays."""

def relu_backward(
    dy: NDArray[np.float32], y: NDArray[np.float32], n_threads: int = 1, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """dy where y > 0, else 0."""

def dropout(
    x: NDArray[np.float32],
    p: float,
    seed: int,
    step: int = 0,
    layer: int = 0,
    n_threads: int = 1,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """x (N, C) with elements zeroed with probability p and the others divided by 1 - p."""

def maxpool_forward(
    x: Activations,
    window: int,
    stride: int,
    pad: int,
    n_threads: int = 1,
    out: Activations | None = None,
) -> tuple[Activations, NDArray[np.uint8]]:
    """Maxima (N, P, Q, C) of x (N, H, W, C), and each winner's place in its window."""

def maxpool_backward(
    dy: Activations,
    argmax: NDArray[np.uint8],
    rows: int,
    cols: int,
    window: int,
    stride: int,
    pad: int,
    n_threads: int = 1,
    out: Activations | None = None,
) -> Activations:
    """dx (N, rows, cols, C)."""

def avgpool_forward(x: Activations, n_threads: int = 1, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Mean over the pixels of x (N, pixels, C)."""

def avgpool_backward(
    dy: NDArray[np.float32],
    pixels: int,
    n_threads: int = 1,
    out: Activations | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
) -> Activations:
    """dx (N, pixels, C)."""

# Losses and class activation maps.

def ntxent(
    z: NDArray[np.float32],
    temperature: float,
    groups: NDArray[np.int32] | None = None,
    n_threads: int = 1,
    out: NDArray[np.float32] | None = None,
    standardize: bool = False,
) -> tuple[float, NDArray[np.float32]]:
    """NT-Xent of z (2 n, D), rows i and i + n a pair, and its gradient. Rows of one group are no negatives.
    standardize: every column to mean 0 and variance 1 over the rows first."""

def cross_entropy(
    logits: NDArray[np.float32],
    labels: NDArray[np.int32],
    class_weights: NDArray[np.float32] | None = None,
    label_smoothing: float = 0.0,
) -> tuple[float, int, NDArray[np.float32]]:
    """Mean loss, number of correct rows, gradient (N, K)."""

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

def sgd_step(
    weights: NDArray[np.float32],
    momentum_buffer: NDArray[np.float32] | None,
    gradients: NDArray[np.float32],
    lr: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    start: NDArray[np.float32] | None = None,
    n_threads: int = 1,
) -> None:
    """torch.optim.SGD."""

def adamw_step(
    weights: NDArray[np.float32],
    m: NDArray[np.float32],
    v: NDArray[np.float32],
    gradients: NDArray[np.float32],
    lr: float,
    step: int,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.01,
    start: NDArray[np.float32] | None = None,
    n_threads: int = 1,
) -> None:
    """torch.optim.AdamW; `step` counts from 1."""

def gradient_norm2(
    gradients: NDArray[np.float32], weights: NDArray[np.float32] | None = None, n_threads: int = 1, eta: float = 0.0
) -> float:
    """Sum of g^2, or of ((|w| + eta) g)^2 when weights are given."""

def sam_perturb(
    weights: NDArray[np.float32],
    gradients: NDArray[np.float32],
    rho: float,
    norm: float,
    adaptive: bool = False,
    copy: NDArray[np.float32] | None = None,
    n_threads: int = 1,
    eta: float = 0.0,
) -> None:
    """Copy the weights to `copy`, then add rho / norm * ((|w| + eta)^2 if adaptive else 1) * g."""

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

@overload
def decode_image(
    data: bytes | bytearray | memoryview,
    name: str = "image",
    channels: int = 0,
    dtype: Literal["uint8", "float32"] = "uint8",
    max_side: int = 0,
    max_pixels: int = 0,
    range: ValueRange = None,
    facts: Literal[False] = False,
) -> NDArray[Any]: ...
@overload
def decode_image(
    data: bytes | bytearray | memoryview,
    name: str = "image",
    channels: int = 0,
    dtype: Literal["uint8", "float32"] = "uint8",
    max_side: int = 0,
    max_pixels: int = 0,
    range: ValueRange = None,
    *,
    facts: Literal[True],
) -> tuple[NDArray[Any], NDArray[np.uint16]]:
    """A JPEG or PNG in memory as (H, W, C), uint8 or float32 in [0, 1].

    channels: 0 keeps gray or RGB, 1 is gray, 3 is RGB. Alpha is composited over black. `name` begins the message of a
    DecodeError. max_side and max_pixels bound what is decoded (0: 65,500 and 2**24); the largest file and the memory
    that decoding may take, 16 MiB and 8 bytes a pixel, follow from max_pixels. `range` is what becomes black and white:
    None for all that 8 or 16 bits can hold, "percentile" for the image's 1st and 99th, or (low, high). facts adds an
    array of shape (1, 5): see decode_files.
    """

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

def write_png(path: StrPath, pixels: NDArray[np.uint8] | NDArray[np.uint16], compression: int = 6) -> None:
    """encode_png to a file, which is replaced in one step or left as it was (OSError)."""

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

def augment_parameters(
    samples: NDArray[np.int64],
    height: int,
    width: int,
    seed: int = 0,
    epoch: int = 0,
    view: int = 0,
    **options: Any,
) -> dict[str, NDArray[Any]]:
    """What augment_batch draws for these samples of height x width images: a table of arrays (n,).

    Keys: top, left, height, width, flip_horizontal, flip_vertical, rotation_deg, shift_x, shift_y, brightness,
    contrast, gamma, blur_sigma (0: no blur).
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
