/* The contrastive loss's row reductions, for vectors of any width.
 *
 * exp(x) = 2^n exp(r) with n = round(x / ln 2) and r = x - n ln 2 (ln 2 in two pieces), |r| <= 0.3466. The Taylor polynomial
 * of degree 7 leaves r^8 / 8! = 5e-9, a twelfth of an ulp. */
#include <math.h>

#include "kernels/lanes.h"
#include "kernels/softmax/softmax.h"

SMRI_INLINE floats exp_lanes(floats x) {
    x = vmax(vset1(-104.0f), x); /* exp(-104) rounds to 0; NaN, the second operand, passes */
    x = vmin(vset1(89.0f), x);
    const floats n = vround(x * vset1(0x1.715476p+0f));
    floats r = vfnma(n, vset1(0x1.62e4p-1f), x); /* 15 bits of ln 2: n times it is exact */
    r = vfnma(n, vset1(0x1.7f7d1cp-20f), r);
    floats p = vset1(1.0f / 5040.0f);
    p = vfma(p, r, vset1(1.0f / 720.0f));
    p = vfma(p, r, vset1(1.0f / 120.0f));
    p = vfma(p, r, vset1(1.0f / 24.0f));
    p = vfma(p, r, vset1(1.0f / 6.0f));
    p = vfma(p, r, vset1(0.5f));
    p = vfma(p, r, vset1(1.0f));
    p = vfma(p, r, vset1(1.0f));
    return vscale2(p, n);
}

static float row_max(const float *x, size_t n) {
    const floats lowest = vset1(-INFINITY);
    floats best = lowest;
    for (size_t i = 0; i < n; i += SMRI_LANES) /* the second operand, when the first is NaN */
        best = vmax(vload_or(x + i, n - i, lowest), best);
    return reduce_max(best);
}

/* Adds the exponentials of n numbers from i on, one vector of them at most. */
SMRI_INLINE void add_exp(doubles sums[2], const float *x, floats shift, size_t i, size_t n) {
    const floats value = vkeep(exp_lanes(vload(x, i, n, SMRI_FP32) - shift), n);
    sums[0] = sums[0] + low_half(value);
    sums[1] = sums[1] + high_half(value);
}

static double exp_sum(const float *x, float shift, size_t n) {
    const floats by = vset1(shift);
    doubles sums[2] = {vset1_double(0.0), vset1_double(0.0)};
    SMRI_FOR_VECTORS(n, add_exp, sums, x, by);
    return reduce_add(sums[0] + sums[1]);
}

SMRI_INLINE void weights_lanes(float *g, const float *s, floats lse, const float *lses, floats factor, size_t i, size_t n) {
    const floats x = vload(s, i, n, SMRI_FP32);
    const floats mine = exp_lanes(x - lse), theirs = exp_lanes(x - vload(lses, i, n, SMRI_FP32));
    vstore(g, i, factor * (mine + theirs), n, SMRI_FP32);
}

static void pair_weights(float *g, const float *s, float lse, const float *lses, float factor, size_t n) {
    const floats by = vset1(lse), times = vset1(factor);
    SMRI_FOR_VECTORS(n, weights_lanes, g, s, by, lses, times);
}

void SMRI_FILLER(smri_softmax_kernels)(struct smri_softmax_kernels *table) {
    *table = (struct smri_softmax_kernels){row_max, exp_sum, pair_weights};
}
