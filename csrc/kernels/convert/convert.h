/* Between fp32 and bfloat16 (smri/precision.h has the definition). */
#pragma once

#include <stddef.h>

#include "kernels/family.h"

struct smri_convert_kernels {
    void (*widen)(float *out, const smri_bf16 *in, size_t n);
    void (*narrow)(smri_bf16 *out, const float *in, size_t n);
    /* out = in rounded to bfloat16, still as floats; out may be in. */
    void (*round)(float *out, const float *in, size_t n);
    /* io = narrowed (io + in), the sum taken in fp32. */
    void (*add)(smri_bf16 *io, const float *in, size_t n);
};

/* With AVX512_BF16 denormal numbers, |x| < 2^-126, are rounded to zero: the instruction does. */
SMRI_DECLARE_FILLERS(smri_convert_kernels, struct smri_convert_kernels);
