/* lanes.h for NEON: eight floats in two registers, or four in one. */
#pragma once

#include <arm_neon.h>

/* There are no stores past the caches that would pay here. */
SMRI_INLINE void vstore(void *numbers, size_t i, floats v, size_t n, enum smri_precision precision);
SMRI_INLINE void vstore_nt(void *numbers, size_t i, floats v, enum smri_precision precision) {
    vstore(numbers, i, v, SMRI_LANES, precision);
}

#if SMRI_LANES == 4
SMRI_INLINE floats vfma(floats a, floats b, floats c) { return vfmaq_f32(c, a, b); } /* a b + c */

SMRI_INLINE void vtranspose(floats r[4]) { /* SMRI_LANES rows of as many numbers */
    const floats a = vtrn1q_f32(r[0], r[1]), b = vtrn2q_f32(r[0], r[1]);
    const floats c = vtrn1q_f32(r[2], r[3]), d = vtrn2q_f32(r[2], r[3]);
    r[0] = vcombine_f32(vget_low_f32(a), vget_low_f32(c)), r[1] = vcombine_f32(vget_low_f32(b), vget_low_f32(d));
    r[2] = vcombine_f32(vget_high_f32(a), vget_high_f32(c)), r[3] = vcombine_f32(vget_high_f32(b), vget_high_f32(d));
}
#else
SMRI_INLINE float32x4_t low_four(floats v) { return __builtin_shufflevector(v, v, 0, 1, 2, 3); }
SMRI_INLINE float32x4_t high_four(floats v) { return __builtin_shufflevector(v, v, 4, 5, 6, 7); }
SMRI_INLINE floats both_fours(float32x4_t low, float32x4_t high) {
    return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
}

SMRI_INLINE floats vfma(floats a, floats b, floats c) { /* a b + c */
    return both_fours(vfmaq_f32(low_four(c), low_four(a), low_four(b)),
                      vfmaq_f32(high_four(c), high_four(a), high_four(b)));
}
SMRI_INLINE floats vsqrt(floats v) { return both_fours(vsqrtq_f32(low_four(v)), vsqrtq_f32(high_four(v))); }
SMRI_INLINE floats vround(floats v) { /* ties to even */
    return both_fours(vrndnq_f32(low_four(v)), vrndnq_f32(high_four(v)));
}

SMRI_INLINE unsigned positive_bits(floats v) {
    unsigned set = 0;
    for (int i = 0; i < 8; i++) set |= (unsigned)(v[i] > 0.0f) << i;
    return set;
}

SMRI_INLINE doubles low_half(floats v) { return __builtin_convertvector(low_four(v), doubles); }
SMRI_INLINE doubles high_half(floats v) { return __builtin_convertvector(high_four(v), doubles); }
SMRI_INLINE floats from_halves(doubles low, doubles high) {
    return both_fours(__builtin_convertvector(low, float32x4_t), __builtin_convertvector(high, float32x4_t));
}
SMRI_INLINE doubles vfma_double(doubles a, doubles b, doubles c) {
    for (int i = 0; i < 4; i++) c[i] = __builtin_fma(a[i], b[i], c[i]);
    return c;
}
SMRI_INLINE double reduce_add(doubles v) { return (v[0] + v[1]) + (v[2] + v[3]); }
#endif
