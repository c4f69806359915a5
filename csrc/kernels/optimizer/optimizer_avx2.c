/* The optimizers' passes in AVX2 and FMA: every array is read and written once. The last n % 8 elements go to the
 * reference. */
#include "kernels/optimizer/optimizer.h"

#include <immintrin.h>
#include <stdint.h>

#define SMRI_LANES ((size_t)8)
#define SMRI_INLINE static inline __attribute__((always_inline))

static struct smri_optimizer_kernels reference(void) {
    struct smri_optimizer_kernels table;
    smri_optimizer_kernels_ref(&table);
    return table;
}

SMRI_INLINE void put(float *p, __m256 v, bool stream) {
    if (stream) _mm256_stream_ps(p, v);
    else _mm256_storeu_ps(p, v);
}

static bool is_streamable(const float *p) { return (uintptr_t)p % 32 == 0; }

SMRI_INLINE void sgd_lanes(float *w, float *m, const float *base, const float *g, const struct smri_sgd_constants *k) {
    const __m256 start = _mm256_loadu_ps(base), momentum = _mm256_set1_ps(k->momentum);
    __m256 step = _mm256_fmadd_ps(_mm256_set1_ps(k->decay), start, _mm256_loadu_ps(g));
    if (m != NULL) {
        const __m256 moved = _mm256_fmadd_ps(momentum, _mm256_loadu_ps(m), step);
        _mm256_storeu_ps(m, moved);
        step = k->nesterov ? _mm256_fmadd_ps(momentum, moved, step) : moved;
    }
    put(w, _mm256_fnmadd_ps(_mm256_set1_ps(k->lr), step, start), k->stream);
}

static void sgd(float *w, float *m, const float *base, const float *g, const struct smri_sgd_constants *k, size_t n) {
    struct smri_sgd_constants local = *k; /* so that stores cannot touch it */
    local.stream = k->stream && w != base && is_streamable(w);
    size_t i = 0;
    if (m != NULL)
        for (; i + SMRI_LANES <= n; i += SMRI_LANES) sgd_lanes(w + i, m + i, base + i, g + i, &local);
    else
        for (; i + SMRI_LANES <= n; i += SMRI_LANES) sgd_lanes(w + i, NULL, base + i, g + i, &local);
    _mm_sfence(); /* before another thread is told that w is there */
    reference().sgd(w + i, m != NULL ? m + i : NULL, base + i, g + i, k, n - i);
}

SMRI_INLINE void adamw_lanes(float *w, float *m, float *v, const float *base, const float *g,
                        const struct smri_adamw_constants *k) {
    const __m256 gradient = _mm256_loadu_ps(g);
    __m256 first = _mm256_loadu_ps(m), second = _mm256_loadu_ps(v);
    first = _mm256_fmadd_ps(_mm256_set1_ps(k->one_minus_beta1), _mm256_sub_ps(gradient, first), first);
    const __m256 square = _mm256_mul_ps(gradient, gradient);
    second = _mm256_fmadd_ps(_mm256_set1_ps(k->one_minus_beta2), square, _mm256_mul_ps(_mm256_set1_ps(k->beta2), second));
    const __m256 below = _mm256_fmadd_ps(_mm256_sqrt_ps(second), _mm256_set1_ps(k->root), _mm256_set1_ps(k->eps));
    const __m256 move = _mm256_div_ps(_mm256_mul_ps(_mm256_set1_ps(k->rate), first), below);
    _mm256_storeu_ps(m, first);
    _mm256_storeu_ps(v, second);
    put(w, _mm256_fmsub_ps(_mm256_set1_ps(k->keep), _mm256_loadu_ps(base), move), k->stream);
}

static void adamw(float *w, float *m, float *v, const float *base, const float *g, const struct smri_adamw_constants *k,
                  size_t n) {
    struct smri_adamw_constants local = *k;
    local.stream = k->stream && w != base && is_streamable(w);
    size_t i = 0;
    for (; i + SMRI_LANES <= n; i += SMRI_LANES) adamw_lanes(w + i, m + i, v + i, base + i, g + i, &local);
    _mm_sfence();
    reference().adamw(w + i, m + i, v + i, base + i, g + i, k, n - i);
}

SMRI_INLINE __m256 absolute(__m256 v) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v); }

/* Two sums of four, since one would wait for its own addition. */
SMRI_INLINE void add_squares(__m256d sums[2], const float *g, const float *w, __m256 eta) {
    __m256d low = _mm256_cvtps_pd(_mm_loadu_ps(g)), high = _mm256_cvtps_pd(_mm_loadu_ps(g + 4));
    if (w != NULL) {
        const __m256 scale = _mm256_add_ps(absolute(_mm256_loadu_ps(w)), eta);
        low = _mm256_mul_pd(low, _mm256_cvtps_pd(_mm256_castps256_ps128(scale)));
        high = _mm256_mul_pd(high, _mm256_cvtps_pd(_mm256_extractf128_ps(scale, 1)));
    }
    sums[0] = _mm256_fmadd_pd(low, low, sums[0]);
    sums[1] = _mm256_fmadd_pd(high, high, sums[1]);
}

static double norm2(const float *g, const float *w, float eta, size_t n) {
    const __m256 more = _mm256_set1_ps(eta);
    __m256d sums[4] = {_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd()};
    size_t i = 0;
    for (; i + 2 * SMRI_LANES <= n; i += 2 * SMRI_LANES) {
        add_squares(sums, g + i, w != NULL ? w + i : NULL, more);
        add_squares(sums + 2, g + i + SMRI_LANES, w != NULL ? w + i + SMRI_LANES : NULL, more);
    }
    double lanes[4];
    _mm256_storeu_pd(lanes, _mm256_add_pd(_mm256_add_pd(sums[0], sums[1]), _mm256_add_pd(sums[2], sums[3])));
    const double rest = reference().norm2(g + i, w != NULL ? w + i : NULL, eta, n - i);
    return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]) + rest;
}

static void perturb(float *w, float *copy, const float *g, float step, bool adaptive, float eta, bool stream, size_t n) {
    const __m256 by = _mm256_set1_ps(step), more = _mm256_set1_ps(eta);
    stream = stream && is_streamable(copy);
    size_t i = 0;
    for (; i + SMRI_LANES <= n; i += SMRI_LANES) {
        const __m256 old = _mm256_loadu_ps(w + i);
        if (copy != NULL) put(copy + i, old, stream);
        __m256 move = _mm256_loadu_ps(g + i);
        const __m256 scale = _mm256_add_ps(absolute(old), more);
        if (adaptive) move = _mm256_mul_ps(_mm256_mul_ps(scale, scale), move);
        _mm256_storeu_ps(w + i, _mm256_fmadd_ps(by, move, old));
    }
    _mm_sfence();
    reference().perturb(w + i, copy != NULL ? copy + i : NULL, g + i, step, adaptive, eta, false, n - i);
}

void smri_optimizer_kernels_avx2(struct smri_optimizer_kernels *table) {
    *table = (struct smri_optimizer_kernels){sgd, adamw, norm2, perturb};
}
