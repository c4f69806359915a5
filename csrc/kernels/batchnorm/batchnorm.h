/* Kernels of batch normalisation: column sums and per-column scale_shift maps of a row-major panel x[rows][C] whose rows are
 * `stride` numbers apart. There is a table for each precision; `void *` points to numbers of that precision, which are
 * computed with in fp32 and rounded once, when stored. Pointers need no alignment beyond a number's. Reductions run
 * over rows in a stated order: eight rows are summed as a tree in fp32, the groups of eight in ascending order in double. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/family.h"

/* y = scale * x + shift, plus residual_scale * residual + residual_shift, or plus residual as it is when residual_scale
 * is NULL, or nothing when residual is NULL; then max(0, .) when relu. y may be x or residual. */
struct smri_scale_shift_rows {
    void *y;
    void *copy; /* unless NULL, y once more, in the same rows */
    const void *x, *residual;
    const float *scale, *shift, *residual_scale, *residual_shift;
    bool relu;
    bool stream;   /* copy, or y without one, may bypass the caches; then it is neither x nor residual */
    uint8_t *mask; /* with relu, unless NULL: bit c of each row (byte c / 8, bit c % 8) says whether y > 0 */
    size_t rows, C, stride, mask_stride; /* mask_stride in bytes */
};

/* dy is masked by scale * x + shift > 0 when scale is not NULL, or by the bits when mask is not NULL: call it dy*. */
struct smri_batchnorm_gradient {
    const void *dy, *x;
    const float *mean, *scale, *shift;
    const uint8_t *mask;
    void *ds; /* with mask: gradient_sums writes dy* there; may be dy */
    size_t rows, C, stride, mask_stride;
};

/* dx = dy_factor * dy* + x_factor * (x - mean) + constant, each per column; x_factor NULL: the first term alone. */
struct smri_batchnorm_dx {
    const float *dy_factor, *x_factor, *constant;
    void *copy;  /* unless NULL, dx once more, in the same rows */
    bool stream; /* copy, or dx without one, may bypass the caches; then it is not dy */
};

struct smri_batchnorm_kernels {
    /* mean[C] of the columns and m2[C], the sum of squared deviations from it; rows >= 1. */
    void (*moments)(double *mean, double *m2, const void *x, size_t rows, size_t C, size_t stride);
    void (*scale_shift)(const struct smri_scale_shift_rows *job);
    /* sum_dy[C] = sum of dy*, sum_dyx[C] = sum of dy* (x - mean). */
    void (*gradient_sums)(double *sum_dy, double *sum_dyx, const struct smri_batchnorm_gradient *job);
    /* dx has the same stride; dx may be dy. mask is not read. */
    void (*gradient_dx)(void *dx, const struct smri_batchnorm_gradient *job, const struct smri_batchnorm_dx *factors);
};

SMRI_DECLARE_FILLERS(smri_batchnorm_kernels, struct smri_batchnorm_kernels); /* of both precisions */
