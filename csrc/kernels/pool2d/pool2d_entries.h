/* The tables' functions from those written for any precision: included behind them, so that each is compiled once for
 * either precision as a constant. */
#ifndef SMRI_KERNELS_POOL2D_POOL2D_ENTRIES_H
#define SMRI_KERNELS_POOL2D_POOL2D_ENTRIES_H

#include "kernels/pool2d/pool2d.h"

static inline void max_fwd_fp32(void *y, uint8_t *place, const void *const *x, const uint8_t *places, size_t n_taps,
                                size_t C) {
    max_fwd(y, place, x, places, n_taps, C, SMRI_FP32);
}
static inline void max_fwd_bf16(void *y, uint8_t *place, const void *const *x, const uint8_t *places, size_t n_taps,
                                size_t C) {
    max_fwd(y, place, x, places, n_taps, C, SMRI_BF16);
}

static inline void max_bwd_fp32(const struct smri_max_row *row) { max_bwd(row, SMRI_FP32); }
static inline void max_bwd_bf16(const struct smri_max_row *row) { max_bwd(row, SMRI_BF16); }

static inline void column_sum_fp32(float *y, const void *x, float factor, size_t rows, size_t C, size_t stride) {
    column_sum(y, x, factor, rows, C, stride, SMRI_FP32);
}
static inline void column_sum_bf16(float *y, const void *x, float factor, size_t rows, size_t C, size_t stride) {
    column_sum(y, x, factor, rows, C, stride, SMRI_BF16);
}

static inline void fill_fp32(struct smri_pool2d_kernels *table) {
    *table = (struct smri_pool2d_kernels){max_fwd_fp32, max_bwd_fp32, column_sum_fp32};
}
static inline void fill_bf16(struct smri_pool2d_kernels *table) {
    *table = (struct smri_pool2d_kernels){max_fwd_bf16, max_bwd_bf16, column_sum_bf16};
}

#endif
