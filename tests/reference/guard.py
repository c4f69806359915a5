"""Arrays that end, or begin, at a page that must not be touched: an access one element outside kills the process.

Address sanitizers miss out-of-bounds masked AVX-512 stores; the memory management unit does not.
"""

from __future__ import annotations

import ctypes
import mmap

import numpy as np

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_PROT_NONE = 0


def guarded(array: np.ndarray, *, at: str = "end") -> np.ndarray:
    """A copy of `array` whose last byte (at="end") or first byte (at="start") touches a PROT_NONE page."""
    page = mmap.PAGESIZE
    body = -(-max(array.nbytes, 1) // page) * page
    memory = mmap.mmap(-1, body + page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    forbidden, offset = (address + body, body - array.nbytes) if at == "end" else (address, page)
    if _libc.mprotect(forbidden, page, _PROT_NONE) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")
    copy = np.frombuffer(memory, dtype=array.dtype, count=array.size, offset=offset).reshape(array.shape)
    copy[...] = array
    return copy
