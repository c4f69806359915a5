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

/* Deviations of `count` rows (8, or fewer at the end) of sixteen columns from the pivot, and their squares. */
INLINE void deviations(__m512 *sum, __m512 *squares, const float *x, size_t stride, size_t count, __m512 pivot,
                       __mmask16 lanes) {
    __m512 s[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()}, q[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    for (size_t r = 0; r < count; r++) {
        const __m512 d = _mm512_sub_ps(load(x + r * stride, lanes), pivot);
        s[r % 2] = _mm512_add_ps(s[r % 2], d);
        q[r % 2] = _mm512_fmadd_ps(d, d, q[r % 2]);
    }
    *sum = _mm512_add_ps(s[0], s[1]);
    *squares = _mm512_add_ps(q[0], q[1]);
}

INLINE void moments_lanes(double *sums, double *squares, const float *x, size_t stride, size_t count, const float *pivots,
                          __mmask16 lanes) {
    __m512 s, q;
    deviations(&s, &q, x, stride, count, load(pivots, lanes), lanes);
    flush(sums, s, lanes);
    flush(squares, q, lanes);
}

INLINE void moments_rows(double *sums, double *squares, const float *x, size_t stride, size_t count, const float *pivots,
                         size_t C) {
    size_t c = 0;
    for (; c + LANES <= C; c += LANES) moments_lanes(sums + c, squares + c, x + c, stride, count, pivots + c, ALL_LANES);
    if (c < C) moments_lanes(sums + c, squares + c, x + c, stride, count, pivots + c, lanes_of(C - c));
}

static void moments_block(double *mean, double *m2, const float *x, size_t rows, size_t C, size_t stride) {
    float pivots[BLOCK];
    const size_t head = rows < 8 ? rows : 8;
    for (size_t c = 0; c < C; c += LANES) {
        const __mmask16 lanes = lanes_of(C - c);
        __m512 sum, unused;
        deviations(&sum, &unused, x + c, stride, head, _mm512_setzero_ps(), lanes);
        store(pivots + c, _mm512_div_ps(sum, _mm512_set1_ps((float)head)), lanes);
    }
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

static void moments(double *mean, double *m2, const float *x, size_t rows, size_t C, size_t stride) {
    for (size_t c = 0; c < C; c += BLOCK)
        moments_block(mean + c, m2 + c, x + c, rows, C - c < BLOCK ? C - c : BLOCK, stride);
}

enum residual { NO_RESIDUAL, PLAIN_RESIDUAL, AFFINE_RESIDUAL };

INLINE void affine_lanes(const struct smri_affine_rows *job, size_t row, size_t c, __mmask16 lanes,
                                enum residual kind, bool relu) {
    const size_t i = row * job->stride + c;
    __m512 y = _mm512_fmadd_ps(load(job->scale + c, lanes), load(job->x + i, lanes), load(job->shift + c, lanes));
    if (kind == PLAIN_RESIDUAL) y = _mm512_add_ps(y, load(job->residual + i, lanes));
    if (kind == AFFINE_RESIDUAL)
        y = _mm512_add_ps(y, _mm512_fmadd_ps(load(job->residual_scale + c, lanes), load(job->residual + i, lanes),
                                             load(job->residual_shift + c, lanes)));
    if (relu) y = _mm512_max_ps(_mm512_setzero_ps(), y); /* the second operand, when one is NaN */
    store(job->y + i, y, lanes);
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
    const struct smri_affine_rows local = *job; /* so that stores through y cannot touch it */
    if (job->residual == NULL) {
        job->relu ? affine_kind(&local, NO_RESIDUAL, true) : affine_kind(&local, NO_RESIDUAL, false);
    } else if (job->residual_scale == NULL) {
        job->relu ? affine_kind(&local, PLAIN_RESIDUAL, true) : affine_kind(&local, PLAIN_RESIDUAL, false);
    } else {
        job->relu ? affine_kind(&local, AFFINE_RESIDUAL, true) : affine_kind(&local, AFFINE_RESIDUAL, false);
    }
}

/* dy of sixteen columns where the forward value, recomputed with the same rounding, is positive. */
INLINE __m512 masked_dy(const struct smri_norm_gradient *job, size_t i, size_t c, __m512 x, __mmask16 lanes,
                               bool relu) {
    if (!relu) return load(job->dy + i, lanes);
    const __m512 y = _mm512_fmadd_ps(load(job->scale + c, lanes), x, load(job->shift + c, lanes));
    return load(job->dy + i, _mm512_mask_cmp_ps_mask(lanes, y, _mm512_setzero_ps(), _CMP_GT_OQ));
}

INLINE void sums_lanes(double *sum_dy, double *sum_dyx, const struct smri_norm_gradient *job, size_t first, size_t count,
                       size_t c, __mmask16 lanes, bool relu) {
    const __m512 mean = load(job->mean + c, lanes);
    __m512 s[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()}, t[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    for (size_t r = 0; r < count; r++) {
        const size_t i = (first + r) * job->stride + c;
        const __m512 x = load(job->x + i, lanes);
        const __m512 dy = masked_dy(job, i, c, x, lanes, relu);
        s[r % 2] = _mm512_add_ps(s[r % 2], dy);
        t[r % 2] = _mm512_fmadd_ps(dy, _mm512_sub_ps(x, mean), t[r % 2]);
    }
    flush(sum_dy + c, _mm512_add_ps(s[0], s[1]), lanes);
    flush(sum_dyx + c, _mm512_add_ps(t[0], t[1]), lanes);
}

INLINE void sums_rows(double *sum_dy, double *sum_dyx, const struct smri_norm_gradient *job, size_t first, size_t count,
                      bool relu) {
    size_t c = 0;
    for (; c + LANES <= job->C; c += LANES) sums_lanes(sum_dy, sum_dyx, job, first, count, c, ALL_LANES, relu);
    if (c < job->C) sums_lanes(sum_dy, sum_dyx, job, first, count, c, lanes_of(job->C - c), relu);
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
    const __m512 x = relu || batch ? load(job->x + i, lanes) : _mm512_setzero_ps();
    const __m512 dy = masked_dy(job, i, c, x, lanes, relu), dy_factor = load(factors->dy_factor + c, lanes);
    __m512 value = _mm512_mul_ps(dy_factor, dy);
    if (batch) {
        const __m512 apart = _mm512_sub_ps(x, load(job->mean + c, lanes));
        const __m512 rest = _mm512_fmadd_ps(load(factors->x_factor + c, lanes), apart, load(factors->constant + c, lanes));
        value = _mm512_fmadd_ps(dy_factor, dy, rest);
    }
    store(dx + i, value, lanes);
}

INLINE void dx_kind(float *dx, const struct smri_norm_gradient *job,
                                                          const struct smri_norm_dx *factors, bool relu, bool batch) {
    for (size_t row = 0; row < job->rows; row++) {
        size_t c = 0;
        for (; c + LANES <= job->C; c += LANES) dx_lanes(dx, job, factors, row, c, ALL_LANES, relu, batch);
        if (c < job->C) dx_lanes(dx, job, factors, row, c, lanes_of(job->C - c), relu, batch);
    }
}

static void gradient_dx(float *dx, const struct smri_norm_gradient *job, const struct smri_norm_dx *factors) {
    const struct smri_norm_gradient local = *job;
    const struct smri_norm_dx by = *factors;
    if (by.x_factor != NULL) {
        local.scale != NULL ? dx_kind(dx, &local, &by, true, true) : dx_kind(dx, &local, &by, false, true);
    } else {
        local.scale != NULL ? dx_kind(dx, &local, &by, true, false) : dx_kind(dx, &local, &by, false, false);
    }
}

void smri_norm_kernels_avx512(struct smri_norm_kernels *table) {
    *table = (struct smri_norm_kernels){moments, affine, gradient_sums, gradient_dx};
}
