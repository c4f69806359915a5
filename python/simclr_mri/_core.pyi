"""Types of the C core. The package's own modules are the documented way in."""

import numpy as np
from numpy.typing import NDArray

class DecodeError(ValueError):
    """An image file's content is not what its format says."""

def cpu_info() -> dict[str, str | int]:
    """cpu, isa_supported, isa (in use), threads, blas."""

def set_isa(name: str, /) -> None:
    """Cap the kernels at "ref", "avx2", "avx512" or "avx512bf16"."""

def random_words(
    n: int, seed: int, epoch: int = 0, sample: int = 0, view: int = 0, purpose: int = 2
) -> NDArray[np.uint32]:
    """The first n words of a random stream."""
