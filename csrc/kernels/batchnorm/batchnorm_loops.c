/* The loops behind batch normalisation's vector kernels, written once for vectors of any width and numbers of either
 * precision (lanes.h).
 *
 * Reductions take eight rows together: their deviations are summed in fp32 in registers and flushed to double sums that
 * live in the outputs, which for a tile of 256 columns stay in the first-level cache. So memory is read once, row after
 * row, as the prefetchers like it, and no fp32 sum is longer than eight. */
#include "kernels/lanes.h"
#include "kernels/batchnorm/batchnorm.h"

#define SMRI_BATCHNORM_COLS 256 /* columns whose pivots fit on the stack; the layer's tiles are no wider */

/* Into the second-level cache: rows of two tensors far enough ahead are more than a first level of 32 KiB. */
SMRI_INLINE void prefetch(const void *numbers, size_t i, enum smri_precision precision) {
    __builtin_prefetch(smri_elem_const(numbers, i, precision), 0, 2);
}

SMRI_INLINE floats row_of(const float *parameters, size_t c, size_t n) { return vload(parameters, c, n, SMRI_FP32); }

/* Adds the deviations of `count` rows from the pivots, and their squares, to the sums of `width` vectors of columns from c on. */
SMRI_INLINE void moments_columns(double *sums, double *squares, const void *x, size_t at, size_t stride, size_t count,
                                 const float *pivots, enum smri_precision precision, size_t c, size_t width, size_t n) {
    floats pivot[SMRI_SIDE_BY_SIDE], s[SMRI_SIDE_BY_SIDE], q[SMRI_SIDE_BY_SIDE];
    for (size_t k = 0; k < width; k++) {
        pivot[k] = row_of(pivots, c + k * SMRI_LANES, n);
        s[k] = q[k] = vset1(0.0f);
    }
    for (size_t r = 0; r < count; r++)
        for (size_t k = 0; k < width; k++) {
            const size_t i = at + r * stride + c + k * SMRI_LANES;
            prefetch(x, i + 32 * stride, precision);
            const floats d = vload(x, i, n, precision) - pivot[k];
            s[k] = s[k] + d;
            q[k] = vfma(d, d, q[k]);
        }
    for (size_t k = 0; k < width; k++) {
        add_in_double(sums + c + k * SMRI_LANES, s[k], n);
        add_in_double(squares + c + k * SMRI_LANES, q[k], n);
    }
}

SMRI_INLINE void moments_rows(double *sums, double *squares, const void *x, size_t at, size_t stride, size_t count,
                              const float *pivots, size_t C, enum smri_precision precision) {
    SMRI_FOR_COLUMNS(C, moments_columns, sums, squares, x, at, stride, count, pivots, precision);
}

SMRI_INLINE void mean_of_rows(float *mean, const void *x, size_t rows, size_t C, size_t stride,
                              enum smri_precision precision) {
    for (size_t c = 0; c < C; c += SMRI_LANES) {
        const size_t n = C - c < SMRI_LANES ? C - c : SMRI_LANES;
        floats sum = vset1(0.0f);
        for (size_t r = 0; r < rows; r++) sum = sum + vload(x, r * stride + c, n, precision);
        vstore(mean, c, sum / vset1((float)rows), n, SMRI_FP32);
    }
}

SMRI_INLINE void moments_block(double *mean, double *m2, const void *x, size_t rows, size_t C, size_t stride,
                          enum smri_precision precision) {
    float pivots[SMRI_BATCHNORM_COLS];
    mean_of_rows(pivots, x, rows < 8 ? rows : 8, C, stride, precision);
    for (size_t c = 0; c < C; c++) mean[c] = m2[c] = 0.0;
    size_t r = 0;
    for (; r + 8 <= rows; r += 8) moments_rows(mean, m2, x, r * stride, stride, 8, pivots, C, precision);
    if (r < rows) moments_rows(mean, m2, x, r * stride, stride, rows - r, pivots, C, precision);
    for (size_t c = 0; c < C; c++) {
        const double squares = m2[c] - mean[c] * mean[c] / (double)rows;
        m2[c] = squares < 0.0 ? 0.0 : squares; /* rounding may cross zero; NaN stays */
        mean[c] = (double)pivots[c] + mean[c] / (double)rows;
    }
}

SMRI_INLINE void moments(double *mean, double *m2, const void *x, size_t rows, size_t C, size_t stride,
                    enum smri_precision precision) {
    for (size_t c = 0; c < C; c += SMRI_BATCHNORM_COLS)
        moments_block(mean + c, m2 + c, smri_elem_const(x, c, precision), rows,
                      C - c < SMRI_BATCHNORM_COLS ? C - c : SMRI_BATCHNORM_COLS, stride,
                      precision);
}

/* v to `out`, and to `copy` unless that is NULL; the last of them past the caches if `stream`. */
SMRI_INLINE void put_twice(void *out, void *copy, size_t i, floats v, size_t n, bool stream, enum smri_precision precision) {
    if (copy != NULL) vstore(out, i, v, n, precision);
    void *last = copy != NULL ? copy : out;
    if (stream) vstore_nt(last, i, v, precision);
    else vstore(last, i, v, n, precision);
}

enum residual { NO_RESIDUAL, PLAIN_RESIDUAL, AFFINE_RESIDUAL };
enum relu { NO_RELU, RELU, RELU_WITH_MASK };

SMRI_INLINE void scale_shift_lanes(const struct smri_scale_shift_rows *job, size_t row, enum residual kind, enum relu relu,
                                   enum smri_precision precision, size_t c, size_t n) {
    const size_t i = row * job->stride + c;
    floats y = vfma(row_of(job->scale, c, n), vload(job->x, i, n, precision), row_of(job->shift, c, n));
    if (kind == PLAIN_RESIDUAL) y = y + vload(job->residual, i, n, precision);
    if (kind == AFFINE_RESIDUAL)
        y = y + vfma(row_of(job->residual_scale, c, n), vload(job->residual, i, n, precision),
                      row_of(job->residual_shift, c, n));
    if (relu == RELU_WITH_MASK) vstore_positive_bits(job->mask + row * job->mask_stride + c / 8, y, n);
    if (relu != NO_RELU) y = positive(y);
    put_twice(job->y, job->copy, i, y, n, job->stream, precision);
}

/* Inlined for each kind, so that the inner loop has no branch. */
SMRI_INLINE void scale_shift_kind(const struct smri_scale_shift_rows *job, enum residual kind, enum relu relu,
                        enum smri_precision precision) {
    for (size_t row = 0; row < job->rows; row++) SMRI_FOR_VECTORS(job->C, scale_shift_lanes, job, row, kind, relu, precision);
}

SMRI_INLINE void scale_shift_residual(const struct smri_scale_shift_rows *job, enum residual kind,
                                      enum smri_precision precision) {
    if (!job->relu) scale_shift_kind(job, kind, NO_RELU, precision);
    else if (job->mask == NULL) scale_shift_kind(job, kind, RELU, precision);
    else scale_shift_kind(job, kind, RELU_WITH_MASK, precision);
}

SMRI_INLINE void scale_shift(const struct smri_scale_shift_rows *job, enum smri_precision precision) {
    struct smri_scale_shift_rows local = *job; /* so that stores through y cannot touch it */
    local.stream = job->stream && fits_lines(job->copy != NULL ? job->copy : job->y, job->C, job->stride, precision);
    const enum residual kind =
        job->residual == NULL ? NO_RESIDUAL : job->residual_scale == NULL ? PLAIN_RESIDUAL : AFFINE_RESIDUAL;
    if (kind == NO_RESIDUAL) scale_shift_residual(&local, NO_RESIDUAL, precision);
    else if (kind == PLAIN_RESIDUAL) scale_shift_residual(&local, PLAIN_RESIDUAL, precision);
    else scale_shift_residual(&local, AFFINE_RESIDUAL, precision);
    smri_store_fence();
}

/* How dy is masked: not, by the forward value recomputed from x, or by bits, in which case gradient_sums leaves it behind. */
enum masking { UNMASKED, BY_X, BY_BITS };

/* dy where the forward value, recomputed with the same rounding, is positive. */
SMRI_INLINE floats masked_dy(const struct smri_batchnorm_gradient *job, size_t i, size_t c, floats x, size_t n, bool relu,
                        enum smri_precision precision) {
    const floats dy = vload(job->dy, i, n, precision);
    return relu ? where_positive(dy, vfma(row_of(job->scale, c, n), x, row_of(job->shift, c, n))) : dy;
}

/* Adds dy* and dy* (x - mean) of `count` rows to the sums of `width` vectors of columns from c on. */
SMRI_INLINE void sums_columns(double *sum_dy, double *sum_dyx, const struct smri_batchnorm_gradient *job, size_t first,
                              size_t count, enum masking masking, enum smri_precision precision, size_t c, size_t width,
                              size_t n) {
    floats mean[SMRI_SIDE_BY_SIDE], s[SMRI_SIDE_BY_SIDE], t[SMRI_SIDE_BY_SIDE];
    for (size_t k = 0; k < width; k++) {
        mean[k] = row_of(job->mean, c + k * SMRI_LANES, n);
        s[k] = t[k] = vset1(0.0f);
    }
    for (size_t r = 0; r < count; r++)
        for (size_t k = 0; k < width; k++) {
            const size_t column = c + k * SMRI_LANES, i = (first + r) * job->stride + column;
            prefetch(job->x, i + 16 * job->stride, precision);
            prefetch(job->dy, i + 16 * job->stride, precision);
            const floats x = vload(job->x, i, n, precision);
            floats dy = masked_dy(job, i, column, x, n, masking == BY_X, precision);
            if (masking == BY_BITS) {
                dy = where_bits(dy, job->mask + (first + r) * job->mask_stride + column / 8, n);
                vstore(job->ds, i, dy, n, precision);
            }
            s[k] = s[k] + dy;
            t[k] = vfma(dy, x - mean[k], t[k]);
        }
    for (size_t k = 0; k < width; k++) {
        add_in_double(sum_dy + c + k * SMRI_LANES, s[k], n);
        add_in_double(sum_dyx + c + k * SMRI_LANES, t[k], n);
    }
}

SMRI_INLINE void sums_kind(double *sum_dy, double *sum_dyx, const struct smri_batchnorm_gradient *job, enum masking masking,
                           enum smri_precision precision) {
    for (size_t c = 0; c < job->C; c++) sum_dy[c] = sum_dyx[c] = 0.0;
    size_t r = 0;
    for (; r + 8 <= job->rows; r += 8)
        SMRI_FOR_COLUMNS(job->C, sums_columns, sum_dy, sum_dyx, job, r, 8, masking, precision);
    if (r < job->rows) SMRI_FOR_COLUMNS(job->C, sums_columns, sum_dy, sum_dyx, job, r, job->rows - r, masking, precision);
}

SMRI_INLINE void gradient_sums(double *sum_dy, double *sum_dyx, const struct smri_batchnorm_gradient *job,
                          enum smri_precision precision) {
    const struct smri_batchnorm_gradient local = *job;
    if (job->mask != NULL) sums_kind(sum_dy, sum_dyx, &local, BY_BITS, precision);
    else if (job->scale != NULL) sums_kind(sum_dy, sum_dyx, &local, BY_X, precision);
    else sums_kind(sum_dy, sum_dyx, &local, UNMASKED, precision);
}

SMRI_INLINE void dx_lanes(void *dx, const struct smri_batchnorm_gradient *job, const struct smri_batchnorm_dx *factors,
                          size_t row, bool relu, bool batch, enum smri_precision precision, size_t c, size_t n) {
    const size_t i = row * job->stride + c;
    const floats x = relu || batch ? vload(job->x, i, n, precision) : vset1(0.0f);
    const floats dy = masked_dy(job, i, c, x, n, relu, precision), dy_factor = row_of(factors->dy_factor, c, n);
    floats value = dy_factor * dy;
    if (batch) {
        const floats rest =
            vfma(row_of(factors->x_factor, c, n), x - row_of(job->mean, c, n), row_of(factors->constant, c, n));
        value = vfma(dy_factor, dy, rest);
    }
    put_twice(dx, factors->copy, i, value, n, factors->stream, precision);
}

SMRI_INLINE void dx_kind(void *dx, const struct smri_batchnorm_gradient *job, const struct smri_batchnorm_dx *factors,
                         bool relu, bool batch, enum smri_precision precision) {
    for (size_t row = 0; row < job->rows; row++)
        SMRI_FOR_VECTORS(job->C, dx_lanes, dx, job, factors, row, relu, batch, precision);
}

SMRI_INLINE void gradient_dx(void *dx, const struct smri_batchnorm_gradient *job, const struct smri_batchnorm_dx *factors,
                        enum smri_precision precision) {
    const struct smri_batchnorm_gradient local = *job;
    struct smri_batchnorm_dx by = *factors;
    by.stream = factors->stream && fits_lines(factors->copy != NULL ? factors->copy : dx, job->C, job->stride, precision);
    if (by.x_factor != NULL) {
        local.scale != NULL ? dx_kind(dx, &local, &by, true, true, precision)
                            : dx_kind(dx, &local, &by, false, true, precision);
    } else {
        local.scale != NULL ? dx_kind(dx, &local, &by, true, false, precision)
                            : dx_kind(dx, &local, &by, false, false, precision);
    }
    smri_store_fence();
}

#include "kernels/batchnorm/batchnorm_entries.h"
