/* The conversions for callers outside the core, through the dispatch table. */
#include "smri/convert.h"

#include "kernels/kernels.h"

void smri_convert_widen(float *out, const smri_bf16 *in, size_t n) { smri_kernels_get()->convert.widen(out, in, n); }

void smri_convert_narrow(smri_bf16 *out, const float *in, size_t n) { smri_kernels_get()->convert.narrow(out, in, n); }
