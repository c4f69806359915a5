/* The tables' functions from those written for any precision: included behind them, so that each is compiled once for
 * either precision as a constant. */
#ifndef SMRI_KERNELS_BATCHNORM_BATCHNORM_ENTRIES_H
#define SMRI_KERNELS_BATCHNORM_BATCHNORM_ENTRIES_H

#include "kernels/batchnorm/batchnorm.h"

static inline void moments_fp32(double *mean, double *m2, const void *x, size_t rows, size_t C, size_t stride) {
    moments(mean, m2, x, rows, C, stride, SMRI_FP32);
}
static inline void moments_bf16(double *mean, double *m2, const void *x, size_t rows, size_t C, size_t stride) {
    moments(mean, m2, x, rows, C, stride, SMRI_BF16);
}

static inline void scale_shift_fp32(const struct smri_scale_shift_rows *job) { scale_shift(job, SMRI_FP32); }
static inline void scale_shift_bf16(const struct smri_scale_shift_rows *job) { scale_shift(job, SMRI_BF16); }

static inline void activate_fp32(void *y, size_t y_stride, const void *const *rows, size_t n, const float *scale,
                                 const float *shift, size_t C) {
    activate(y, y_stride, rows, n, scale, shift, C, SMRI_FP32);
}
static inline void activate_bf16(void *y, size_t y_stride, const void *const *rows, size_t n, const float *scale,
                                 const float *shift, size_t C) {
    activate(y, y_stride, rows, n, scale, shift, C, SMRI_BF16);
}

static inline void gradient_sums_fp32(double *sum_dy, double *sum_dyx, const struct smri_batchnorm_gradient *job) {
    gradient_sums(sum_dy, sum_dyx, job, SMRI_FP32);
}
static inline void gradient_sums_bf16(double *sum_dy, double *sum_dyx, const struct smri_batchnorm_gradient *job) {
    gradient_sums(sum_dy, sum_dyx, job, SMRI_BF16);
}

static inline void gradient_dx_fp32(void *dx, const struct smri_batchnorm_gradient *job,
                                    const struct smri_batchnorm_dx *factors) {
    gradient_dx(dx, job, factors, SMRI_FP32);
}
static inline void gradient_dx_bf16(void *dx, const struct smri_batchnorm_gradient *job,
                                    const struct smri_batchnorm_dx *factors) {
    gradient_dx(dx, job, factors, SMRI_BF16);
}

static inline void fill_fp32(struct smri_batchnorm_kernels *table) {
    *table = (struct smri_batchnorm_kernels){moments_fp32, scale_shift_fp32, activate_fp32, gradient_sums_fp32,
                                             gradient_dx_fp32};
}
static inline void fill_bf16(struct smri_batchnorm_kernels *table) {
    *table = (struct smri_batchnorm_kernels){moments_bf16, scale_shift_bf16, activate_bf16, gradient_sums_bf16,
                                             gradient_dx_bf16};
}

#endif
