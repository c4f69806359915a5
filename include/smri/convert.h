/* Arrays between fp32 and bfloat16 (precision.h defines the rounding): where activations enter and leave the network. The
 * arrays may not overlap; no alignment is needed. */
#ifndef SMRI_CONVERT_H
#define SMRI_CONVERT_H

#include <stddef.h>

#include "smri/api.h"
#include "smri/pool.h"
#include "smri/precision.h"

SMRI_API_BEGIN

/* out[i] = in[i], exactly. */
void smri_widen(float *out, const smri_bf16 *in, size_t n, smri_pool *pool);

/* out[i] = in[i] rounded to the nearest bfloat16, ties to even. */
void smri_narrow(smri_bf16 *out, const float *in, size_t n, smri_pool *pool);

SMRI_API_END

#endif
