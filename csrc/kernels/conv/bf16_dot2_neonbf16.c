/* The kernels on pairs of bfloat16 numbers with Armv8.6's BFDOT. */
#define SMRI_SINGLE_REGISTERS
#include "kernels/lanes.h"

SMRI_INLINE floats multiply_add(floats x, floats w, floats sum) {
    return vbfdotq_f32(sum, vreinterpretq_bf16_f32(x), vreinterpretq_bf16_f32(w));
}

#include "kernels/conv/bf16_dot2_loops.h"

static void interleave(uint32_t *out, const smri_bf16 *even, const smri_bf16 *odd, size_t n) {
    SMRI_FOR_VECTORS(n, interleave_lanes, out, even, odd);
}

void smri_bf16_dot2_kernels_neonbf16(struct smri_bf16_dot2_kernels *kernels) {
    kernels->tile = tile, kernels->gemm_tn = gemm_tn, kernels->weights = weights, kernels->interleave = interleave;
}
