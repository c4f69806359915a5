/* Batch normalisation's kernels in AVX2 and FMA: the columns eight at a time, in the same order of sums as the AVX-512
 * version (norm_avx512.c says why); the last C % 8 columns go to the reference. */
#include "kernels/norm.h"

#include <immintrin.h>
#include <stdint.h>

#define LANES ((size_t)8)
#define BLOCK 256 /* columns whose pivots fit on the stack; the layer's tiles are no wider */
#define INLINE static inline __attribute__((always_inline))

/* Whether rows of C floats that begin at p, `stride` apart, can be written by whole vectors past the caches. */
static bool is_streamable(const float *p, size_t C, size_t stride) {
    return (uintptr_t)p % 32 == 0 && C % LANES == 0 && stride % LANES == 0;
}

/* sums[0..8) += v, in double. */
INLINE void flush(double *sums, __m256 v) {
    const __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(v)), high = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
    _mm256_storeu_pd(sums, _mm256_add_pd(_mm256_loadu_pd(sums), low));
    _mm256_storeu_pd(sums + 4, _mm256_add_pd(_mm256_loadu_pd(sums + 4), high));
}

/* Deviations of `count` rows (8, or fewer at the end) of eight columns from the pivot, and their squares. */
INLINE void deviations(__m256 *sum, __m256 *squares, const float *x, size_t stride, size_t count, __m256 pivot) {
    __m256 s[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()}, q[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (size_t r = 0; r < count; r++) {
        const __m256 d = _mm256_sub_ps(_mm256_loadu_ps(x + r * stride), pivot);
        s[r % 2] = _mm256_add_ps(s[r % 2], d);
        q[r % 2] = _mm256_fmadd_ps(d, d, q[r % 2]);
    }
    *sum = _mm256_add_ps(s[0], s[1]);
    *squares = _mm256_add_ps(q[0], q[1]);
}

INLINE void moments_rows(double *sums, double *squares, const float *x, size_t stride, size_t count, const float *pivots,
                         size_t C) {
    for (size_t c = 0; c < C; c += LANES) {
        __m256 s, q;
        deviations(&s, &q, x + c, stride, count, _mm256_loadu_ps(pivots + c));
        flush(sums + c, s);
        flush(squares + c, q);
    }
}

/* C is a multiple of 8. */
static void moments_block(double *mean, double *m2, const float *x, size_t rows, size_t C, size_t stride) {
    float pivots[BLOCK];
    const size_t head = rows < 8 ? rows : 8;
    for (size_t c = 0; c < C; c += LANES) {
        __m256 sum, unused;
        deviations(&sum, &unused, x + c, stride, head, _mm256_setzero_ps());
        _mm256_storeu_ps(pivots + c, _mm256_div_ps(sum, _mm256_set1_ps((float)head)));
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

static void moments(double *mean, double *m2, const void *numbers, size_t rows, size_t C, size_t stride) {
    const float *x = numbers;
    const size_t body = C / LANES * LANES;
    for (size_t c = 0; c < body; c += BLOCK)
        moments_block(mean + c, m2 + c, x + c, rows, body - c < BLOCK ? body - c : BLOCK, stride);
    if (body == C) return;
    struct smri_norm_kernels ref[SMRI_PRECISIONS];
    smri_norm_kernels_ref(ref);
    ref[SMRI_FP32].moments(mean + body, m2 + body, x + body, rows, C - body, stride);
}

enum residual { NO_RESIDUAL, PLAIN_RESIDUAL, AFFINE_RESIDUAL };

/* Inlined for each kind, so that the inner loop has no branch. */
INLINE void affine_kind(const struct smri_affine_rows *job, enum residual kind, bool relu) {
    for (size_t row = 0; row < job->rows; row++)
        for (size_t c = 0; c < job->C; c += LANES) {
            const size_t i = row * job->stride + c;
            __m256 y = _mm256_fmadd_ps(_mm256_loadu_ps(job->scale + c), _mm256_loadu_ps((const float *)job->x + i),
                                       _mm256_loadu_ps(job->shift + c));
            if (kind == PLAIN_RESIDUAL) y = _mm256_add_ps(y, _mm256_loadu_ps((const float *)job->residual + i));
            if (kind == AFFINE_RESIDUAL)
                y = _mm256_add_ps(y, _mm256_fmadd_ps(_mm256_loadu_ps(job->residual_scale + c),
                                                     _mm256_loadu_ps((const float *)job->residual + i),
                                                     _mm256_loadu_ps(job->residual_shift + c)));
            if (relu) y = _mm256_max_ps(_mm256_setzero_ps(), y); /* the second operand, when one is NaN */
            if (job->stream) _mm256_stream_ps((float *)job->y + i, y);
            else _mm256_storeu_ps((float *)job->y + i, y);
        }
}

static void affine_tail(struct smri_affine_rows job, size_t body) {
    job.y = (float *)job.y + body, job.x = (const float *)job.x + body, job.scale += body, job.shift += body;
    if (job.residual != NULL) job.residual = (const float *)job.residual + body;
    if (job.residual_scale != NULL) job.residual_scale += body, job.residual_shift += body;
    job.C -= body;
    struct smri_norm_kernels ref[SMRI_PRECISIONS];
    smri_norm_kernels_ref(ref);
    ref[SMRI_FP32].affine(&job);
}

static void affine(const struct smri_affine_rows *job) {
    struct smri_affine_rows body = *job;
    body.C = job->C / LANES * LANES;
    body.stream = job->stream && is_streamable(job->y, job->C, job->stride);
    if (job->residual == NULL) {
        job->relu ? affine_kind(&body, NO_RESIDUAL, true) : affine_kind(&body, NO_RESIDUAL, false);
    } else if (job->residual_scale == NULL) {
        job->relu ? affine_kind(&body, PLAIN_RESIDUAL, true) : affine_kind(&body, PLAIN_RESIDUAL, false);
    } else {
        job->relu ? affine_kind(&body, AFFINE_RESIDUAL, true) : affine_kind(&body, AFFINE_RESIDUAL, false);
    }
    if (body.C < job->C) affine_tail(*job, body.C);
    _mm_sfence(); /* before another thread is told that y is there */
}

/* dy of eight columns where the forward value, recomputed with the same rounding, is positive. */
INLINE __m256 masked_dy(const struct smri_norm_gradient *job, size_t i, size_t c, __m256 x, bool relu) {
    const __m256 dy = _mm256_loadu_ps((const float *)job->dy + i);
    if (!relu) return dy;
    const __m256 y = _mm256_fmadd_ps(_mm256_loadu_ps(job->scale + c), x, _mm256_loadu_ps(job->shift + c));
    return _mm256_and_ps(dy, _mm256_cmp_ps(y, _mm256_setzero_ps(), _CMP_GT_OQ));
}

INLINE void sums_rows(double *sum_dy, double *sum_dyx, const struct smri_norm_gradient *job, size_t first, size_t count,
                      bool relu) {
    for (size_t c = 0; c < job->C; c += LANES) {
        const __m256 mean = _mm256_loadu_ps(job->mean + c);
        __m256 s[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()}, t[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
        for (size_t r = 0; r < count; r++) {
            const size_t i = (first + r) * job->stride + c;
            const __m256 x = _mm256_loadu_ps((const float *)job->x + i), dy = masked_dy(job, i, c, x, relu);
            s[r % 2] = _mm256_add_ps(s[r % 2], dy);
            t[r % 2] = _mm256_fmadd_ps(dy, _mm256_sub_ps(x, mean), t[r % 2]);
        }
        flush(sum_dy + c, _mm256_add_ps(s[0], s[1]));
        flush(sum_dyx + c, _mm256_add_ps(t[0], t[1]));
    }
}

INLINE void sums_kind(double *sum_dy, double *sum_dyx, const struct smri_norm_gradient *job, bool relu) {
    for (size_t c = 0; c < job->C; c++) sum_dy[c] = sum_dyx[c] = 0.0;
    size_t r = 0;
    for (; r + 8 <= job->rows; r += 8) sums_rows(sum_dy, sum_dyx, job, r, 8, relu);
    if (r < job->rows) sums_rows(sum_dy, sum_dyx, job, r, job->rows - r, relu);
}

static struct smri_norm_gradient gradient_tail(struct smri_norm_gradient job, size_t body) {
    job.dy = (const float *)job.dy + body, job.x = (const float *)job.x + body, job.mean += body;
    if (job.scale != NULL) job.scale += body, job.shift += body;
    job.C -= body;
    return job;
}

static void gradient_sums(double *sum_dy, double *sum_dyx, const struct smri_norm_gradient *job) {
    struct smri_norm_gradient body = *job;
    body.C = job->C / LANES * LANES;
    job->scale != NULL ? sums_kind(sum_dy, sum_dyx, &body, true) : sums_kind(sum_dy, sum_dyx, &body, false);
    if (body.C == job->C) return;
    const struct smri_norm_gradient tail = gradient_tail(*job, body.C);
    struct smri_norm_kernels ref[SMRI_PRECISIONS];
    smri_norm_kernels_ref(ref);
    ref[SMRI_FP32].gradient_sums(sum_dy + body.C, sum_dyx + body.C, &tail);
}

INLINE void dx_kind(float *dx, const struct smri_norm_gradient *job, const struct smri_norm_dx *factors, bool relu,
                    bool batch) {
    for (size_t row = 0; row < job->rows; row++)
        for (size_t c = 0; c < job->C; c += LANES) {
            const size_t i = row * job->stride + c;
            const __m256 x = relu || batch ? _mm256_loadu_ps((const float *)job->x + i) : _mm256_setzero_ps();
            const __m256 dy = masked_dy(job, i, c, x, relu), dy_factor = _mm256_loadu_ps(factors->dy_factor + c);
            __m256 value = _mm256_mul_ps(dy_factor, dy);
            if (batch) {
                const __m256 apart = _mm256_sub_ps(x, _mm256_loadu_ps(job->mean + c));
                const __m256 rest = _mm256_fmadd_ps(_mm256_loadu_ps(factors->x_factor + c), apart,
                                                    _mm256_loadu_ps(factors->constant + c));
                value = _mm256_fmadd_ps(dy_factor, dy, rest);
            }
            if (factors->stream) _mm256_stream_ps(dx + i, value);
            else _mm256_storeu_ps(dx + i, value);
        }
}

static void gradient_dx(void *gradient, const struct smri_norm_gradient *job, const struct smri_norm_dx *factors) {
    float *dx = gradient;
    struct smri_norm_gradient body = *job;
    body.C = job->C / LANES * LANES;
    struct smri_norm_dx by = *factors;
    by.stream = factors->stream && is_streamable(dx, job->C, job->stride);
    if (by.x_factor != NULL) {
        body.scale != NULL ? dx_kind(dx, &body, &by, true, true) : dx_kind(dx, &body, &by, false, true);
    } else {
        body.scale != NULL ? dx_kind(dx, &body, &by, true, false) : dx_kind(dx, &body, &by, false, false);
    }
    _mm_sfence(); /* before another thread is told that dx is there */
    if (body.C == job->C) return;
    const struct smri_norm_gradient tail = gradient_tail(*job, body.C);
    by.dy_factor += body.C;
    if (by.x_factor != NULL) by.x_factor += body.C, by.constant += body.C;
    struct smri_norm_kernels ref[SMRI_PRECISIONS];
    smri_norm_kernels_ref(ref);
    ref[SMRI_FP32].gradient_dx(dx + body.C, &tail, &by);
}

void smri_norm_kernels_avx2(struct smri_norm_kernels table[SMRI_PRECISIONS]) {
    table[SMRI_FP32] = (struct smri_norm_kernels){moments, affine, gradient_sums, gradient_dx};
}
