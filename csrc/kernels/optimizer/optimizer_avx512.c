/* The optimizers' passes in AVX-512: every array is read and written once. */
#include "kernels/optimizer/optimizer.h"

#include "kernels/lanes_avx512.h"

SMRI_INLINE void put(float *p, __m512 v, __mmask16 lanes, bool stream) {
    if (stream && lanes == SMRI_ALL_LANES) _mm512_stream_ps(p, v);
    else store(p, v, lanes);
}

SMRI_INLINE void sgd_lanes(float *w, float *m, const float *base, const float *g, const struct smri_sgd_constants *k,
                             __mmask16 lanes) {
    const __m512 start = load(base, lanes), momentum = _mm512_set1_ps(k->momentum);
    __m512 step = _mm512_fmadd_ps(_mm512_set1_ps(k->decay), start, load(g, lanes));
    if (m != NULL) {
        const __m512 moved = _mm512_fmadd_ps(momentum, load(m, lanes), step);
        store(m, moved, lanes);
        step = k->nesterov ? _mm512_fmadd_ps(momentum, moved, step) : moved;
    }
    put(w, _mm512_fnmadd_ps(_mm512_set1_ps(k->lr), step, start), lanes, k->stream);
}

static void sgd(float *w, float *m, const float *base, const float *g, const struct smri_sgd_constants *k, size_t n) {
    struct smri_sgd_constants local = *k; /* so that stores cannot touch it */
    local.stream = k->stream && w != base && is_streamable(w, SMRI_LANES, SMRI_LANES);
    size_t i = 0;
    if (m != NULL) {
        for (; i + SMRI_LANES <= n; i += SMRI_LANES) sgd_lanes(w + i, m + i, base + i, g + i, &local, SMRI_ALL_LANES);
        sgd_lanes(w + i, m + i, base + i, g + i, &local, lanes_of(n - i));
    } else {
        for (; i + SMRI_LANES <= n; i += SMRI_LANES) sgd_lanes(w + i, NULL, base + i, g + i, &local, SMRI_ALL_LANES);
        sgd_lanes(w + i, NULL, base + i, g + i, &local, lanes_of(n - i));
    }
    _mm_sfence(); /* before another thread is told that w is there */
}

SMRI_INLINE void adamw_lanes(float *w, float *m, float *v, const float *base, const float *g,
                               const struct smri_adamw_constants *k, __mmask16 lanes) {
    const __m512 gradient = load(g, lanes);
    __m512 first = load(m, lanes), second = load(v, lanes);
    first = _mm512_fmadd_ps(_mm512_set1_ps(k->one_minus_beta1), _mm512_sub_ps(gradient, first), first);
    const __m512 square = _mm512_mul_ps(gradient, gradient);
    second = _mm512_fmadd_ps(_mm512_set1_ps(k->one_minus_beta2), square, _mm512_mul_ps(_mm512_set1_ps(k->beta2), second));
    const __m512 below = _mm512_fmadd_ps(_mm512_sqrt_ps(second), _mm512_set1_ps(k->root), _mm512_set1_ps(k->eps));
    const __m512 move = _mm512_div_ps(_mm512_mul_ps(_mm512_set1_ps(k->rate), first), below);
    store(m, first, lanes);
    store(v, second, lanes);
    put(w, _mm512_fmsub_ps(_mm512_set1_ps(k->keep), load(base, lanes), move), lanes, k->stream);
}

static void adamw(float *w, float *m, float *v, const float *base, const float *g, const struct smri_adamw_constants *k,
                  size_t n) {
    struct smri_adamw_constants local = *k;
    local.stream = k->stream && w != base && is_streamable(w, SMRI_LANES, SMRI_LANES);
    size_t i = 0;
    for (; i + SMRI_LANES <= n; i += SMRI_LANES) adamw_lanes(w + i, m + i, v + i, base + i, g + i, &local, SMRI_ALL_LANES);
    adamw_lanes(w + i, m + i, v + i, base + i, g + i, &local, lanes_of(n - i));
    _mm_sfence();
}

/* Four independent sums of squares, since one would wait for its own addition. */
SMRI_INLINE void add_squares(__m512d sums[2], const float *g, const float *w, __m512 eta, __mmask16 lanes) {
    const __m512 v = load(g, lanes);
    __m512d low = low_half(v), high = high_half(v);
    if (w != NULL) {
        const __m512 by = _mm512_add_ps(_mm512_abs_ps(load(w, lanes)), eta);
        low = _mm512_mul_pd(low, low_half(by));
        high = _mm512_mul_pd(high, high_half(by));
    }
    sums[0] = _mm512_fmadd_pd(low, low, sums[0]);
    sums[1] = _mm512_fmadd_pd(high, high, sums[1]);
}

static double norm2(const float *g, const float *w, float eta, size_t n) {
    const __m512 more = _mm512_set1_ps(eta);
    __m512d sums[4] = {_mm512_setzero_pd(), _mm512_setzero_pd(), _mm512_setzero_pd(), _mm512_setzero_pd()};
    size_t i = 0;
    for (; i + 2 * SMRI_LANES <= n; i += 2 * SMRI_LANES) {
        add_squares(sums, g + i, w != NULL ? w + i : NULL, more, SMRI_ALL_LANES);
        add_squares(sums + 2, g + i + SMRI_LANES, w != NULL ? w + i + SMRI_LANES : NULL, more, SMRI_ALL_LANES);
    }
    for (; i < n; i += SMRI_LANES) add_squares(sums, g + i, w != NULL ? w + i : NULL, more, lanes_of(n - i));
    return _mm512_reduce_add_pd(_mm512_add_pd(_mm512_add_pd(sums[0], sums[1]), _mm512_add_pd(sums[2], sums[3])));
}

SMRI_INLINE void perturb_lanes(float *w, float *copy, const float *g, __m512 step, bool adaptive, __m512 eta, bool stream,
                               __mmask16 lanes) {
    const __m512 old = load(w, lanes);
    if (copy != NULL) put(copy, old, lanes, stream);
    __m512 move = load(g, lanes);
    const __m512 scale = _mm512_add_ps(_mm512_abs_ps(old), eta);
    if (adaptive) move = _mm512_mul_ps(_mm512_mul_ps(scale, scale), move);
    store(w, _mm512_fmadd_ps(step, move, old), lanes);
}

static void perturb(float *w, float *copy, const float *g, float step, bool adaptive, float eta, bool stream, size_t n) {
    const __m512 by = _mm512_set1_ps(step), more = _mm512_set1_ps(eta);
    stream = stream && is_streamable(copy, SMRI_LANES, SMRI_LANES);
    for (size_t i = 0; i < n; i += SMRI_LANES)
        perturb_lanes(w + i, copy != NULL ? copy + i : NULL, g + i, by, adaptive, more, stream, lanes_of(n - i));
    _mm_sfence();
}

void smri_optimizer_kernels_avx512(struct smri_optimizer_kernels *table) {
    *table = (struct smri_optimizer_kernels){sgd, adamw, norm2, perturb};
}
