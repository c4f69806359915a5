/* The tables from functions written for any precision: included behind them, by the reference and by the loops. */
#pragma once

#include "kernels/pool2d/pool2d.h"

SMRI_BOTH_PRECISIONS(max_fwd, (void *y, uint8_t *place, const void *const *x, const uint8_t *places, size_t n_taps, size_t C), y,
                     place, x, places, n_taps, C)
SMRI_BOTH_PRECISIONS(max_bwd, (const struct smri_max_row *row), row)
SMRI_BOTH_PRECISIONS(column_sum, (float *y, const void *x, float factor, size_t rows, size_t C, size_t stride), y, x, factor,
                     rows, C, stride)

void SMRI_FILLER(smri_pool2d_kernels)(struct smri_pool2d_kernels *tables) {
    tables[SMRI_FP32] = (struct smri_pool2d_kernels){max_fwd_fp32, max_bwd_fp32, column_sum_fp32};
    tables[SMRI_BF16] = (struct smri_pool2d_kernels){max_fwd_bf16, max_bwd_bf16, column_sum_bf16};
}
