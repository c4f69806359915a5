/* Batch normalisation's kernels in AVX-512: the columns sixteen at a time, the last ones under a mask.
 *
 * Reductions take eight rows together: their deviations are summed in fp32 in registers and flushed to double sums that
 * live in the outputs, which for a tile of 256 columns stay in the first-level cache. So memory is read once, row after
 * row, as the prefetchers like it, and no fp32 sum is longer than eight. */
#include "kernels/norm.h"

#include "kernels/lanes_avx512.h"

#define BLOCK 256 /* columns whose pivots fit on the stack; the layer's tiles are no wider */

/* sums[0..16) += v, in double. */
INLINE void flush(double *sums, __m512 v, __mmask16 lanes) {
    if (lanes == ALL_LANES) {
        _mm512_storeu_pd(sums, _mm512_add_pd(_mm512_loadu_pd(sums), low_half(v)));
        _mm512_storeu_pd(sums + 8, _mm512_add_pd(_mm512_loadu_pd(sums + 8), high_half(v)));
    } else {
        const __mmask8 low = (__mmask8)lanes, high = (__mmask8)(lanes >> 8);
        _mm512_mask_storeu_pd(sums, low, _mm512_add_pd(_mm512_maskz_loadu_pd(low, sums), low_half(v)));
        _mm512_mask_storeu_pd(sums + 8, high, _mm512_add_pd(_mm512_maskz_loadu_pd(high, sums + 8), high_half(v)));
    }
}

/* Adds the deviations of `count` rows from the pivots, and their squares, to the sums of `width` x 16 columns: four vectors
 * side by side, so that each row is read in runs of 256 bytes, or one under a mask. */
INLINE void moments_columns(double *sums, double *squares, const float *x, size_t stride, size_t count, const float *pivots,
                            size_t width, __mmask16 lanes) {
    __m512 pivot[4], s[4], q[4];
    for (size_t k = 0; k < width; k++) {
        pivot[k] = load(pivots + k * LANES, lanes);
        s[k] = q[k] = _mm512_setzero_ps();
    }
    for (size_t r = 0; r < count; r++)
        for (size_t k = 0; k < width; k++) {
            const float *at = x + r * stride + k * LANES;
            _mm_prefetch((const char *)(at + 16 * stride), _MM_HINT_T0); /* 11.5 GB/s without, 13 with, of 15 */
            const __m512 d = _mm512_sub_ps(load(at, lanes), pivot[k]);
            s[k] = _mm512_add_ps(s[k], d);
            q[k] = _mm512_fmadd_ps(d, d, q[k]);
        }
    for (size_t k = 0; k < width; k++) {
        flush(sums + k * LANES, s[k], lanes);
        flush(squares + k * LANES, q[k], lanes);
    }
}

INLINE void moments_rows(double *sums, double *squares, const float *x, size_t stride, size_t count, const float *pivots,
                         size_t C) {
    size_t c = 0;
    for (; c + 4 * LANES <= C; c += 4 * LANES)
        moments_columns(sums + c, squares + c, x + c, stride, count, pivots + c, 4, ALL_LANES);
    for (; c < C; c += LANES)
        moments_columns(sums + c, squares + c, x + c, stride, count, pivots + c, 1, lanes_of(C - c));
}

static void mean_of_rows(float *mean, const float *x, size_t rows, size_t C, size_t stride) {
    for (size_t c = 0; c < C; c += LANES) {
        const __mmask16 lanes = lanes_of(C - c);
        __m512 sum = _mm512_setzero_ps();
        for (size_t r = 0; r < rows; r++) sum = _mm512_add_ps(sum, load(x + r * stride + c, lanes));
        store(mean + c, _mm512_div_ps(sum, _mm512_set1_ps((float)rows)), lanes);
    }
}

static void moments_block(double *mean, double *m2, const float *x, size_t rows, size_t C, size_t stride) {
    float pivots[BLOCK];
    mean_of_rows(pivots, x, rows < 8 ? rows : 8, C, stride);
    for (size_t c = 0; c < C; c++) mean[c] = m2[c] = 0.0;
    size_t r = 0;
    for (; r + 8 <= rows; r += 8) moments_rows(mean, m2, x + r * stride, stride, 8, pivots, C);
    if (r < rows) moments_rows(mean, m2, x + r * stride, stride, rows - r, pivots, C);
    for (size_t c = 0; c < C; c++) {
        const double squares = m2[c] - mean[c] * mean[c] / (double)rows;
        m2[c] = squares < 0.0 ? 0.0 : squares; /* rounding may cross zero; NaN stays */
        mean[c] = (double)pivots[c] + mean[c] / (double)rows;
    }
}

static void moments(double *mean, double *m2, const void *numbers, size_t rows, size_t C, size_t stride) {
    const float *x = numbers;
    for (size_t c = 0; c < C; c += BLOCK)
        moments_block(mean + c, m2 + c, x + c, rows, C - c < BLOCK ? C - c : BLOCK, stride);
}

enum residual { NO_RESIDUAL, PLAIN_RESIDUAL, AFFINE_RESIDUAL };

INLINE void affine_lanes(const struct smri_affine_rows *job, size_t row, size_t c, __mmask16 lanes, enum residual kind,
                         bool relu) {
    const size_t i = row * job->stride + c;
    __m512 y = _mm512_fmadd_ps(load(job->scale + c, lanes), load((const float *)job->x + i, lanes), load(job->shift + c, lanes));
    if (kind == PLAIN_RESIDUAL) y = _mm512_add_ps(y, load((const float *)job->residual + i, lanes));
    if (kind == AFFINE_RESIDUAL)
        y = _mm512_add_ps(y, _mm512_fmadd_ps(load(job->residual_scale + c, lanes), load((const float *)job->residual + i, lanes),
                                             load(job->residual_shift + c, lanes)));
    if (relu) y = _mm512_max_ps(_mm512_setzero_ps(), y); /* the second operand, when one is NaN */
    if (job->stream) _mm512_stream_ps((float *)job->y + i, y);
    else store((float *)job->y + i, y, lanes);
}

/* Inlined for each kind, so that the inner loop has no branch. */
INLINE void affine_kind(const struct smri_affine_rows *job, enum residual kind,
                                                              bool relu) {
    for (size_t row = 0; row < job->rows; row++) {
        size_t c = 0;
        for (; c + LANES <= job->C; c += LANES) affine_lanes(job, row, c, ALL_LANES, kind, relu);
        if (c < job->C) affine_lanes(job, row, c, lanes_of(job->C - c), kind, relu);
    }
}

static void affine(const struct smri_affine_rows *job) {
    struct smri_affine_rows local = *job; /* so that stores through y cannot touch it */
    local.stream = job->stream && is_streamable(job->y, job->C, job->stride);
    if (job->residual == NULL) {
        job->relu ? affine_kind(&local, NO_RESIDUAL, true) : affine_kind(&local, NO_RESIDUAL, false);
    } else if (job->residual_scale == NULL) {
        job->relu ? affine_kind(&local, PLAIN_RESIDUAL, true) : affine_kind(&local, PLAIN_RESIDUAL, false);
    } else {
        job->relu ? affine_kind(&local, AFFINE_RESIDUAL, true) : affine_kind(&local, AFFINE_RESIDUAL, false);
    }
    _mm_sfence(); /* before another thread is told that y is there */
}

/* dy of sixteen columns where the forward value, recomputed with the same rounding, is positive. */
INLINE __m512 masked_dy(const struct smri_norm_gradient *job, size_t i, size_t c, __m512 x, __mmask16 lanes,
                               bool relu) {
    if (!relu) return load((const float *)job->dy + i, lanes);
    const __m512 y = _mm512_fmadd_ps(load(job->scale + c, lanes), x, load(job->shift + c, lanes));
    return load((const float *)job->dy + i, _mm512_mask_cmp_ps_mask(lanes, y, _mm512_setzero_ps(), _CMP_GT_OQ));
}

/* Adds dy* and dy* (x - mean) of `count` rows to the sums of `width` x 16 columns from c on. */
INLINE void sums_columns(double *sum_dy, double *sum_dyx, const struct smri_norm_gradient *job, size_t first, size_t count,
                         size_t c, size_t width, __mmask16 lanes, bool relu) {
    __m512 mean[4], s[4], t[4];
    for (size_t k = 0; k < width; k++) {
        mean[k] = load(job->mean + c + k * LANES, lanes);
        s[k] = t[k] = _mm512_setzero_ps();
    }
    for (size_t r = 0; r < count; r++)
        for (size_t k = 0; k < width; k++) {
            const size_t column = c + k * LANES, i = (first + r) * job->stride + column;
            _mm_prefetch((const char *)((const float *)job->x + i + 8 * job->stride), _MM_HINT_T0);
            _mm_prefetch((const char *)((const float *)job->dy + i + 8 * job->stride), _MM_HINT_T0);
            const __m512 x = load((const float *)job->x + i, lanes), dy = masked_dy(job, i, column, x, lanes, relu);
            s[k] = _mm512_add_ps(s[k], dy);
            t[k] = _mm512_fmadd_ps(dy, _mm512_sub_ps(x, mean[k]), t[k]);
        }
    for (size_t k = 0; k < width; k++) {
        flush(sum_dy + c + k * LANES, s[k], lanes);
        flush(sum_dyx + c + k * LANES, t[k], lanes);
    }
}

INLINE void sums_rows(double *sum_dy, double *sum_dyx, const struct smri_norm_gradient *job, size_t first, size_t count,
                      bool relu) {
    size_t c = 0;
    for (; c + 4 * LANES <= job->C; c += 4 * LANES) sums_columns(sum_dy, sum_dyx, job, first, count, c, 4, ALL_LANES, relu);
    for (; c < job->C; c += LANES) sums_columns(sum_dy, sum_dyx, job, first, count, c, 1, lanes_of(job->C - c), relu);
}

INLINE void sums_kind(double *sum_dy, double *sum_dyx,
                                                            const struct smri_norm_gradient *job, bool relu) {
    for (size_t c = 0; c < job->C; c++) sum_dy[c] = sum_dyx[c] = 0.0;
    size_t r = 0;
    for (; r + 8 <= job->rows; r += 8) sums_rows(sum_dy, sum_dyx, job, r, 8, relu);
    if (r < job->rows) sums_rows(sum_dy, sum_dyx, job, r, job->rows - r, relu);
}

static void gradient_sums(double *sum_dy, double *sum_dyx, const struct smri_norm_gradient *job) {
    const struct smri_norm_gradient local = *job;
    job->scale != NULL ? sums_kind(sum_dy, sum_dyx, &local, true) : sums_kind(sum_dy, sum_dyx, &local, false);
}

INLINE void dx_lanes(float *dx, const struct smri_norm_gradient *job, const struct smri_norm_dx *factors, size_t row,
                            size_t c, __mmask16 lanes, bool relu, bool batch) {
    const size_t i = row * job->stride + c;
    const __m512 x = relu || batch ? load((const float *)job->x + i, lanes) : _mm512_setzero_ps();
    const __m512 dy = masked_dy(job, i, c, x, lanes, relu), dy_factor = load(factors->dy_factor + c, lanes);
    __m512 value = _mm512_mul_ps(dy_factor, dy);
    if (batch) {
        const __m512 apart = _mm512_sub_ps(x, load(job->mean + c, lanes));
        const __m512 rest = _mm512_fmadd_ps(load(factors->x_factor + c, lanes), apart, load(factors->constant + c, lanes));
        value = _mm512_fmadd_ps(dy_factor, dy, rest);
    }
    if (factors->stream) _mm512_stream_ps(dx + i, value);
    else store(dx + i, value, lanes);
}

INLINE void dx_kind(float *dx, const struct smri_norm_gradient *job,
                                                          const struct smri_norm_dx *factors, bool relu, bool batch) {
    for (size_t row = 0; row < job->rows; row++) {
        size_t c = 0;
        for (; c + LANES <= job->C; c += LANES) dx_lanes(dx, job, factors, row, c, ALL_LANES, relu, batch);
        if (c < job->C) dx_lanes(dx, job, factors, row, c, lanes_of(job->C - c), relu, batch);
    }
}

static void gradient_dx(void *gradient, const struct smri_norm_gradient *job, const struct smri_norm_dx *factors) {
    float *dx = gradient;
    const struct smri_norm_gradient local = *job;
    struct smri_norm_dx by = *factors;
    by.stream = factors->stream && is_streamable(dx, job->C, job->stride);
    if (by.x_factor != NULL) {
        local.scale != NULL ? dx_kind(dx, &local, &by, true, true) : dx_kind(dx, &local, &by, false, true);
    } else {
        local.scale != NULL ? dx_kind(dx, &local, &by, true, false) : dx_kind(dx, &local, &by, false, false);
    }
    _mm_sfence(); /* before another thread is told that dx is there */
}

void smri_norm_kernels_avx512(struct smri_norm_kernels table[SMRI_PRECISIONS]) {
    table[SMRI_FP32] = (struct smri_norm_kernels){moments, affine, gradient_sums, gradient_dx};
}
