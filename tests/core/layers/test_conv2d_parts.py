"""Those who make a convolution's source, and look at its result, part by part on the way.

The source that the convolution is given is nowhere but in the maker's hands; whatever is to be kept, and every number
of the result, comes by exactly once: the binding adds up their bits. The results are those without company, to the bit.
"""

from __future__ import annotations

import numpy as np
import pytest
from test_conv2d import Shape, operands, run
from test_conv2d_bf16 import as_bf16

import _testing
from conftest import FP32_LEVELS, SUPPORTED
from reference.guard import guarded
from simclr_mri import _core

# Pixels below, at and above a tile and a chunk; channels below and above vectors and blocks, more than one task of
# them; depths below the steps of fetching ahead, odd ones, and one that makes chunks short.
SHAPES = [
    Shape(*sizes)
    for sizes in (
        (1, 1, 1, 1, 1, 1, 1, 1, 0),
        (1, 2, 3, 3, 33, 1, 1, 1, 0),
        (2, 5, 3, 17, 65, 1, 1, 1, 0),
        (3, 9, 11, 64, 130, 1, 1, 1, 0),
        (2, 16, 16, 40, 200, 1, 1, 1, 0),
        (1, 8, 8, 2100, 70, 1, 1, 1, 0),
    )
]
WAYS = [(isa, "igemm", "fp32") for isa in FP32_LEVELS]
WAYS += [(isa, "bf16_dot2", "bf16") for isa in ("ref", "avx512bf16") if isa in SUPPORTED]


@pytest.fixture(params=WAYS, ids="-".join)
def way(request):
    """(method, precision), with the instruction set in use."""
    _testing.set_isa(request.param[0])
    yield request.param[1:]
    _testing.set_isa(SUPPORTED[-1])


def bits(array):
    return array.view(np.uint16 if array.itemsize == 2 else np.uint32)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("direction", [0, 1], ids=["forward", "backward_data"])
def test_same_bits_and_all_of_it_once(way, direction, shape):
    method, precision = way
    narrow = as_bf16 if precision == "bf16" else np.array
    x, w, dy = operands(shape)
    a = narrow(x if direction == 0 else dy)
    packed = _core.conv2d_pack(w)
    options = {"method": method, "precision": precision}
    expected = run(direction, shape, a, packed, **options)
    plan = _core.conv2d_plan(shape, 2, method, precision=precision)[direction]
    for n_threads, at in ((1, "end"), (2, "start"), (2, "end"), (2, "end")):
        for who in ({"kept"}, {"seen"}, {"kept", "seen"}):
            company = {"kept": guarded(np.zeros_like(a), at=at), "seen": guarded(np.zeros_like(expected), at=at)}
            y = run(
                direction,
                shape,
                guarded(a, at=at),
                guarded(packed, at=at),
                out=guarded(np.zeros_like(expected), at=at),
                workspace=guarded(np.full(plan[1], 0xFF, np.uint8), at=at),
                n_threads=n_threads,
                **{name: company[name] for name in who},
                **options,
            )
            assert y.tobytes() == expected.tobytes()
            assert "kept" not in who or np.array_equal(bits(company["kept"]), bits(a))
            assert "seen" not in who or np.array_equal(bits(company["seen"]), bits(expected))


def test_what_is_added_to_is_seen_complete(way):
    method, precision = way
    shape = SHAPES[3]
    narrow = as_bf16 if precision == "bf16" else np.array
    x, w, dy = operands(shape)
    options = {"method": method, "precision": precision, "accumulate": True}
    expected = run(1, shape, narrow(dy), _core.conv2d_pack(w), out=narrow(x), **options)
    kept, seen = np.zeros_like(narrow(dy)), np.zeros_like(expected)
    dx = run(1, shape, narrow(dy), _core.conv2d_pack(w), out=narrow(x), kept=kept, seen=seen, n_threads=2, **options)
    assert dx.tobytes() == expected.tobytes()
    assert np.array_equal(bits(seen), bits(expected)) and np.array_equal(bits(kept), bits(narrow(dy)))


def test_large_results_are_written_past_the_caches_only_when_nobody_looks():
    """8 MiB and more: the same bits either way, the copy that is kept included."""
    shape = Shape(2, 128, 64, 128, 128, 1, 1, 1, 0)
    x, w, _ = operands(shape)
    packed = _core.conv2d_pack(w)
    expected = run(0, shape, x, packed, n_threads=2)
    kept, seen = np.zeros_like(x), np.zeros_like(expected)
    assert run(0, shape, x, packed, n_threads=2, kept=kept, seen=seen).tobytes() == expected.tobytes()
    assert np.array_equal(bits(kept), bits(x)) and np.array_equal(bits(seen), bits(expected))


def test_where_there_are_no_parts():
    shape = Shape(2, 6, 6, 16, 16, 3, 3, 1, 1)
    x, w, dy = operands(shape)
    packed = _core.conv2d_pack(w)
    for method in ("igemm", "winograd", "im2col", "reference"):
        with pytest.raises(ValueError, match="kept, seen: this method, shape or direction has no parts"):
            run(0, shape, x, packed, method=method, kept=np.zeros_like(x))
    with pytest.raises(ValueError, match="kept, seen: this method, shape or direction has no parts"):
        run(2, shape, x, dy, seen=np.zeros_like(packed))
