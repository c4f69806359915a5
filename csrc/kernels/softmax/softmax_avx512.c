/* The contrastive loss's row reductions in AVX-512.
 *
 * exp(x) = 2^n exp(r) with n = round(x / ln 2) and r = x - n ln 2 (ln 2 in two pieces), |r| <= 0.3466. The Taylor polynomial
 * of degree 7 leaves r^8 / 8! = 5e-9, a twelfth of an ulp. */
#include "kernels/softmax/softmax.h"

#include <math.h>

#include "kernels/lanes_avx512.h"

SMRI_INLINE __m512 exp_lanes(__m512 x) {
    x = _mm512_max_ps(_mm512_set1_ps(-104.0f), x); /* exp(-104) rounds to 0; NaN, the second operand, passes */
    x = _mm512_min_ps(_mm512_set1_ps(89.0f), x);
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(0x1.715476p+0f)), _MM_FROUND_TO_NEAREST_INT);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.62e4p-1f), x); /* 15 bits of ln 2: n times it is exact */
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.7f7d1cp-20f), r);
    __m512 p = _mm512_set1_ps(1.0f / 5040.0f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 720.0f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 120.0f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 24.0f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 6.0f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, n);
}

static float row_max(const float *x, size_t n) {
    const __m512 lowest = _mm512_set1_ps(-INFINITY);
    __m512 best = lowest;
    for (size_t i = 0; i < n; i += SMRI_LANES) /* the second operand, when the first is NaN */
        best = _mm512_max_ps(_mm512_mask_loadu_ps(lowest, lanes_of(n - i), x + i), best);
    return _mm512_reduce_max_ps(best);
}

static double exp_sum(const float *x, float shift, size_t n) {
    const __m512 by = _mm512_set1_ps(shift);
    __m512d low = _mm512_setzero_pd(), high = _mm512_setzero_pd();
    for (size_t i = 0; i < n; i += SMRI_LANES) {
        const __mmask16 lanes = lanes_of(n - i);
        const __m512 value = _mm512_maskz_mov_ps(lanes, exp_lanes(_mm512_sub_ps(load(x + i, lanes), by)));
        low = _mm512_add_pd(low, low_half(value));
        high = _mm512_add_pd(high, high_half(value));
    }
    return _mm512_reduce_add_pd(_mm512_add_pd(low, high));
}

static void pair_weights(float *g, const float *s, float lse, const float *lses, float factor, size_t n) {
    for (size_t j = 0; j < n; j += SMRI_LANES) {
        const __mmask16 lanes = lanes_of(n - j);
        const __m512 x = load(s + j, lanes);
        const __m512 mine = exp_lanes(_mm512_sub_ps(x, _mm512_set1_ps(lse)));
        const __m512 theirs = exp_lanes(_mm512_sub_ps(x, load(lses + j, lanes)));
        store(g + j, _mm512_mul_ps(_mm512_set1_ps(factor), _mm512_add_ps(mine, theirs)), lanes);
    }
}

void smri_softmax_kernels_avx512(struct smri_softmax_kernels *table) {
    *table = (struct smri_softmax_kernels){row_max, exp_sum, pair_weights};
}
