/* BFDOT adds two products of bfloat16 numbers to each of 4 sums; the code is in multiply_adds.h. */
#define SMRI_SINGLE_REGISTERS
#include "kernels/lanes.h"

#define SMRI_PEAK_PRODUCTS 2
#define SMRI_PEAK_FACTOR vreinterpretq_f32_u32(vdupq_n_u32(0x3F803F80)) /* 1 and 1 */
SMRI_INLINE floats multiply_add(floats a, floats b, floats sum) {
    return vbfdotq_f32(sum, vreinterpretq_bf16_f32(a), vreinterpretq_bf16_f32(b));
}

#define SMRI_ISA neonbf16
#include "kernels/peak/multiply_adds.h"
