/* As much of lanes.h as the register tiles need, with four floats in one register of NEON: the two of lanes_neon.h's vectors are
 * kept in memory by compilers. For files compiled for aarch64 only. */
#pragma once

#include <arm_neon.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "smri/precision.h"

#define SMRI_LANES ((size_t)4)
#define SMRI_INLINE static inline __attribute__((always_inline))
typedef float32x4_t floats;

SMRI_INLINE floats vset1(float value) { return vdupq_n_f32(value); }
SMRI_INLINE floats vfma(floats a, floats b, floats c) { return vfmaq_f32(c, a, b); } /* a b + c */
SMRI_INLINE floats vmax(floats a, floats b) { return vbslq_f32(vcgtq_f32(a, b), a, b); } /* b, when either is NaN */

SMRI_INLINE floats vload(const void *numbers, size_t i, size_t n, enum smri_precision precision) {
    if (precision == SMRI_FP32) {
        floats v = {0};
        memcpy(&v, (const float *)numbers + i, n * sizeof(float));
        return v;
    }
    uint16x4_t halves = {0};
    memcpy(&halves, (const smri_bf16 *)numbers + i, n * sizeof(smri_bf16));
    return vreinterpretq_f32_u32(vshll_n_u16(halves, 16));
}

SMRI_INLINE uint16x4_t round_to_bf16(floats v) {
    const uint32x4_t bits = vreinterpretq_u32_f32(v), upper = vshrq_n_u32(bits, 16);
    const uint32x4_t half = vaddq_u32(vandq_u32(upper, vdupq_n_u32(1)), vdupq_n_u32(0x7FFF));
    const uint32x4_t nearest = vshrq_n_u32(vaddq_u32(bits, half), 16);
    return vmovn_u32(vbslq_u32(vceqq_f32(v, v), nearest, vorrq_u32(upper, vdupq_n_u32(0x40))));
}

SMRI_INLINE void vstore(void *numbers, size_t i, floats v, size_t n, enum smri_precision precision) {
    const uint16x4_t halves = round_to_bf16(v);
    if (precision == SMRI_FP32) memcpy((float *)numbers + i, &v, n * sizeof(float));
    else memcpy((smri_bf16 *)numbers + i, &halves, n * sizeof(smri_bf16));
}

SMRI_INLINE void vstore_nt(void *numbers, size_t i, floats v, enum smri_precision precision) {
    vstore(numbers, i, v, SMRI_LANES, precision);
}
SMRI_INLINE void vstore_fence(void) {}

SMRI_INLINE void vtranspose(floats r[4]) {
    const floats a = vtrn1q_f32(r[0], r[1]), b = vtrn2q_f32(r[0], r[1]), c = vtrn1q_f32(r[2], r[3]), d = vtrn2q_f32(r[2], r[3]);
    r[0] = vcombine_f32(vget_low_f32(a), vget_low_f32(c)), r[1] = vcombine_f32(vget_low_f32(b), vget_low_f32(d));
    r[2] = vcombine_f32(vget_high_f32(a), vget_high_f32(c)), r[3] = vcombine_f32(vget_high_f32(b), vget_high_f32(d));
}
