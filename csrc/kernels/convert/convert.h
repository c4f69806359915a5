/* Between fp32 and bfloat16 (smri/precision.h has the definition). */
#pragma once

#include "kernels/family.h"

/* From bf16 to fp32; to bf16; to bf16's numbers, still as fp32 (out may be in); and bf16 += fp32, summed in fp32. */
enum smri_conversion { SMRI_WIDEN, SMRI_NARROW, SMRI_ROUND, SMRI_ADD, SMRI_CONVERSIONS };

struct smri_convert_kernels {
    void (*by[SMRI_CONVERSIONS])(void *out, const void *in, size_t n);
};

/* With AVX512_BF16 denormal numbers, |x| < 2^-126, are rounded to zero: the instruction does. */
SMRI_DECLARE_FILLERS(smri_convert_kernels, struct smri_convert_kernels);
