/* The contrastive loss's row reductions in AVX2 and FMA; softmax_avx512.c explains the exponential. Rows are finished by a
 * last vector that is filled up with -infinity, whose exponential is 0. */
#include "kernels/softmax/softmax.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

#define SMRI_LANES ((size_t)8)
#define SMRI_INLINE static inline __attribute__((always_inline))

SMRI_INLINE __m256 load_filled(const float *x, size_t left, float fill) {
    if (left >= SMRI_LANES) return _mm256_loadu_ps(x);
    float buffer[SMRI_LANES];
    _mm256_storeu_ps(buffer, _mm256_set1_ps(fill));
    memcpy(buffer, x, left * sizeof *x);
    return _mm256_loadu_ps(buffer);
}

/* p 2^n in two steps, since 2^n alone may leave the range: n is -150 to 128. */
SMRI_INLINE __m256 scale_by(__m256 p, __m256 n) {
    const __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1), rest = _mm256_sub_epi32(whole, half);
    const __m256i bias = _mm256_set1_epi32(127);
    const __m256 first = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
    const __m256 second = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
    return _mm256_mul_ps(_mm256_mul_ps(p, first), second);
}

SMRI_INLINE __m256 exp_lanes(__m256 x) {
    x = _mm256_max_ps(_mm256_set1_ps(-104.0f), x); /* exp(-104) rounds to 0; NaN, the second operand, passes */
    x = _mm256_min_ps(_mm256_set1_ps(89.0f), x);
    const __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(0x1.715476p+0f)),
                                     _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0x1.62e4p-1f), x);
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0x1.7f7d1cp-20f), r);
    __m256 p = _mm256_set1_ps(1.0f / 5040.0f);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 720.0f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 120.0f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 24.0f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 6.0f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
    return scale_by(p, n);
}

static float row_max(const float *x, size_t n) {
    float best = -INFINITY, lanes[SMRI_LANES];
    __m256 most = _mm256_set1_ps(-INFINITY);
    for (size_t i = 0; i < n; i += SMRI_LANES) /* the second operand, when the first is NaN */
        most = _mm256_max_ps(load_filled(x + i, n - i, -INFINITY), most);
    _mm256_storeu_ps(lanes, most);
    for (size_t i = 0; i < SMRI_LANES; i++) best = lanes[i] > best ? lanes[i] : best;
    return best;
}

static double exp_sum(const float *x, float shift, size_t n) {
    const __m256 by = _mm256_set1_ps(shift);
    __m256d low = _mm256_setzero_pd(), high = _mm256_setzero_pd();
    for (size_t i = 0; i < n; i += SMRI_LANES) {
        const __m256 value = exp_lanes(_mm256_sub_ps(load_filled(x + i, n - i, -INFINITY), by));
        low = _mm256_add_pd(low, _mm256_cvtps_pd(_mm256_castps256_ps128(value)));
        high = _mm256_add_pd(high, _mm256_cvtps_pd(_mm256_extractf128_ps(value, 1)));
    }
    double lanes[4];
    _mm256_storeu_pd(lanes, _mm256_add_pd(low, high));
    return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

static void pair_weights(float *g, const float *s, float lse, const float *lses, float factor, size_t n) {
    for (size_t j = 0; j < n; j += SMRI_LANES) {
        const __m256 x = load_filled(s + j, n - j, 0.0f);
        const __m256 mine = exp_lanes(_mm256_sub_ps(x, _mm256_set1_ps(lse)));
        const __m256 theirs = exp_lanes(_mm256_sub_ps(x, load_filled(lses + j, n - j, 0.0f)));
        const __m256 value = _mm256_mul_ps(_mm256_set1_ps(factor), _mm256_add_ps(mine, theirs));
        if (n - j >= SMRI_LANES) {
            _mm256_storeu_ps(g + j, value);
        } else {
            float buffer[SMRI_LANES];
            _mm256_storeu_ps(buffer, value);
            memcpy(g + j, buffer, (n - j) * sizeof *g);
        }
    }
}

void smri_softmax_kernels_avx2(struct smri_softmax_kernels *table) {
    *table = (struct smri_softmax_kernels){row_max, exp_sum, pair_weights};
}
