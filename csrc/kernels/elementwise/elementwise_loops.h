/* ReLU and dropout for vectors of any width (lanes.h). Dropout computes a Philox block in each lane: four vectors of words. */
#pragma once

#include "kernels/elementwise/elementwise.h"
#include "kernels/lanes.h"

SMRI_INLINE void relu_lanes(float *y, const float *x, size_t i, size_t n) {
    vstore(y, i, positive(vload(x, i, n, SMRI_FP32)), n, SMRI_FP32);
}

static void relu_fwd(float *y, const float *x, size_t n) { SMRI_FOR_VECTORS(n, relu_lanes, y, x); }

SMRI_INLINE void relu_bwd_lanes(float *dx, const float *dy, const float *y, size_t i, size_t n) {
    vstore(dx, i, where_positive(vload(dy, i, n, SMRI_FP32), vload(y, i, n, SMRI_FP32)), n, SMRI_FP32);
}

static void relu_bwd(float *dx, const float *dy, const float *y, size_t n) { SMRI_FOR_VECTORS(n, relu_bwd_lanes, dx, dy, y); }

SMRI_INLINE void philox_round(uints c[4], uint32_t k0, uint32_t k1) {
    uints high0, low0, high1, low1;
    vmul_wide(&high0, &low0, c[0], 0xD2511F53u);
    vmul_wide(&high1, &low1, c[2], 0xCD9E8D57u);
    c[0] = high1 ^ c[1] ^ k0, c[1] = low1, c[2] = high0 ^ c[3] ^ k1, c[3] = low0;
}

/* c[k] = words LANES k .. LANES (k + 1) - 1 of the stream from block `first` on. The lanes count so that a transpose inside
 * 128-bit lanes, four by four, is all that the order needs: lane l is block LANES / 4 (l % 4) + l / 4. */
SMRI_INLINE void philox_words(uints c[4], uint32_t first, const struct smri_dropout_row *row) {
    c[0] = first + vlane_order();
    for (size_t k = 1; k < 4; k++) c[k] = (uints){0} + row->counter[k];
    uint32_t k0 = row->key[0], k1 = row->key[1];
    for (int round = 0; round < 10; round++) {
        philox_round(c, k0, k1);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    vtranspose_fours(c);
}

SMRI_INLINE void dropout_lanes(float *y, const float *x, uints words, const struct smri_dropout_row *row, size_t n) {
    const floats scaled = vload(x, 0, n, SMRI_FP32) * vset1(row->factor);
    vstore(y, 0, (floats)((uints)scaled & (uints)(words >= row->threshold)), n, SMRI_FP32);
}

static void dropout(float *y, const float *x, size_t n, const struct smri_dropout_row *row) {
    const struct smri_dropout_row local = *row; /* so that stores cannot touch it */
    for (size_t i = 0; i < n; i += 4 * SMRI_LANES) {
        uints words[4];
        philox_words(words, (uint32_t)(i / 4), &local);
        for (size_t k = 0, at = i; k < 4 && at < n; k++, at += SMRI_LANES)
            dropout_lanes(y + at, x + at, words[k], &local, n - at < SMRI_LANES ? n - at : SMRI_LANES);
    }
}

void SMRI_FILLER(smri_elementwise_kernels)(struct smri_elementwise_kernels *table) {
    *table = (struct smri_elementwise_kernels){relu_fwd, relu_bwd, dropout};
}
