"""Types of what only tests call; `_testing.py` says where it is."""

from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from simclr_mri._core import Activations, ValueRange

def set_isa(name: str, /) -> None:
    """Cap the kernels at "ref", "avx2", "avx512", "avx512bf16" or "amx"."""

def cgroup_cpus(membership: str, mount: str, /) -> int | None:
    """The least CPU quota, in processors, of the cgroups that a file like /proc/self/cgroup names; None without one."""

def random_words(
    n: int, seed: int, epoch: int = 0, sample: int = 0, view: int = 0, purpose: int = 2
) -> NDArray[np.uint32]:
    """The first n words of a random stream."""

def random_normals(out: NDArray[np.float32], seed: int, skipped: int, /) -> int:
    """Fills `out` with normal numbers of a stream, after so many words of it; returns the word that comes next."""

def conv2d_unpack(packed: NDArray[np.float32], shape: tuple[int, int, int, int], /) -> NDArray[np.float32]:
    """Packed weights to [K, C, R, S]."""

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
