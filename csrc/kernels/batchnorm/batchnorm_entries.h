/* The tables from functions written for any precision: included behind them, by the reference and by the loops. */
#pragma once

#include "kernels/batchnorm/batchnorm.h"

SMRI_BOTH_PRECISIONS(moments, (double *mean, double *m2, const void *x, size_t rows, size_t C, size_t stride), mean, m2, x,
                     rows, C, stride)
SMRI_BOTH_PRECISIONS(scale_shift, (const struct smri_scale_shift_rows *job), job)
SMRI_BOTH_PRECISIONS(gradient_sums, (double *sum_dy, double *sum_dyx, const struct smri_batchnorm_gradient *job), sum_dy,
                     sum_dyx, job)
SMRI_BOTH_PRECISIONS(gradient_dx, (void *dx, const struct smri_batchnorm_gradient *job,
                                   const struct smri_batchnorm_dx *factors), dx, job, factors)

void SMRI_FILLER(smri_batchnorm_kernels)(struct smri_batchnorm_kernels *tables) {
    tables[SMRI_FP32] = (struct smri_batchnorm_kernels){moments_fp32, scale_shift_fp32, gradient_sums_fp32, gradient_dx_fp32};
    tables[SMRI_BF16] = (struct smri_batchnorm_kernels){moments_bf16, scale_shift_bf16, gradient_sums_bf16, gradient_dx_bf16};
}
