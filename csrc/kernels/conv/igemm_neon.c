/* The convolution kernels compiled for NEON; the code is in igemm_fp32.h and igemm_loops.h. Here a vector is one register of four
 * floats, and not two as in lanes.h, which compilers keep in memory. */
#if defined(__aarch64__)
#include <arm_neon.h>
#include <string.h>

#include "smri/precision.h"

#define SMRI_LANES ((size_t)4)
#define SMRI_INLINE static inline __attribute__((always_inline))
typedef float32x4_t floats;

SMRI_INLINE floats vset1(float value) { return vdupq_n_f32(value); }
SMRI_INLINE floats vfma(floats a, floats b, floats c) { return vfmaq_f32(c, a, b); } /* a b + c */
SMRI_INLINE floats vmax(floats a, floats b) { return vbslq_f32(vcgtq_f32(a, b), a, b); } /* b, when either is NaN */

SMRI_INLINE floats vload(const void *numbers, size_t i, size_t n, enum smri_precision precision) {
    floats v = {0};
    (void)precision; /* SMRI_FP32 */
    memcpy(&v, (const float *)numbers + i, n * sizeof(float));
    return v;
}
SMRI_INLINE void vstore(void *numbers, size_t i, floats v, size_t n, enum smri_precision precision) {
    (void)precision;
    memcpy((float *)numbers + i, &v, n * sizeof(float));
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

#include "kernels/conv/igemm_fp32.h"

void smri_conv_kernels_neon(struct smri_conv_kernels *kernels) { fill(kernels); }
#endif
