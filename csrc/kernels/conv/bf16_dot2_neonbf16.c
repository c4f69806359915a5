/* The kernels on pairs of bfloat16 numbers with Armv8.6's BFDOT: igemm_loops.h's tiles. */
#include "kernels/conv/bf16_dot2.h"

#include "kernels/lanes_neon4.h"

#define SMRI_IGEMM_PRECISION SMRI_BF16

SMRI_INLINE floats broadcast(const void *row, size_t word) {
    uint32_t x; /* where a pixel has an odd number of channels every other row begins between two words */
    memcpy(&x, (const char *)row + 4 * word, sizeof x);
    return vreinterpretq_f32_u32(vdupq_n_u32(x));
}

SMRI_INLINE floats broadcast_last(const void *row, size_t number) {
    return vreinterpretq_f32_u32(vdupq_n_u32(((const smri_bf16 *)row)[number]));
}

SMRI_INLINE floats multiply_add(floats x, floats w, floats sum) {
    return vbfdotq_f32(sum, vreinterpretq_bf16_f32(x), vreinterpretq_bf16_f32(w));
}

#include "kernels/conv/igemm_loops.h"

void smri_bf16_dot2_kernels_neonbf16(struct smri_bf16_dot2_kernels *kernels) {
    kernels->tile = tile;
    kernels->gemm_tn = gemm_tn;
}
