/* The kernels on pairs of bfloat16 numbers for vectors of any width: igemm_tile.h's tiles, and what makes pairs. The
 * including file has lanes.h and multiply_add(x, w, sum): sum, plus both products of each word. */
#pragma once

#include "kernels/conv/bf16_dot2.h"

#define SMRI_IGEMM_PRECISION SMRI_BF16

SMRI_INLINE floats broadcast(const void *row, size_t word) {
    uint32_t x; /* where a pixel has an odd number of channels every other row begins between two words */
    memcpy(&x, (const char *)row + 4 * word, sizeof x);
    return (floats)(x - (uints){0});
}

SMRI_INLINE floats broadcast_last(const void *row, size_t number) {
    return (floats)(((const smri_bf16 *)row)[number] - (uints){0});
}

#include "kernels/conv/igemm_tile.h"

SMRI_INLINE uints pairs_of(halves even, halves odd) { return words_of(even) | words_of(odd) << 16; }

static void weights(uint32_t *out, const float *in, size_t rows) {
    for (size_t d = 0; d < rows; d += 2, in += 2 * SMRI_CONV_BLOCK)
        for (size_t i = 0; i < SMRI_CONV_BLOCK; i += SMRI_LANES, out += SMRI_LANES) {
            halves even = round_to_bf16(vload(in, i, SMRI_LANES, SMRI_FP32)), odd = {0};
            if (d + 1 < rows) odd = round_to_bf16(vload(in, SMRI_CONV_BLOCK + i, SMRI_LANES, SMRI_FP32));
            const uints pairs = pairs_of(even, odd);
            memcpy(out, &pairs, sizeof pairs);
        }
}

SMRI_INLINE void interleave_lanes(uint32_t *out, const smri_bf16 *even, const smri_bf16 *odd, size_t i, size_t n) {
    halves a = {0}, b = {0};
    if (even != NULL) a = load_halves(even + i, n);
    if (odd != NULL) b = load_halves(odd + i, n);
    const uints pairs = pairs_of(a, b);
    memcpy(out + i, &pairs, n * sizeof *out);
}
