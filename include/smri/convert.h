/* Arrays between fp32 and bfloat16, by the kernels of the instruction set in use. precision.h defines the rounding. */
#ifndef SMRI_CONVERT_H
#define SMRI_CONVERT_H

#include <stddef.h>

#include "smri/precision.h"

/* out[i] = in[i], exactly. The arrays may not overlap; no alignment is needed. */
void smri_convert_widen(float *out, const smri_bf16 *in, size_t n);

/* out[i] = in[i] rounded to the nearest bfloat16, ties to even. */
void smri_convert_narrow(smri_bf16 *out, const float *in, size_t n);

#endif
