/* The loops behind the vector conversions, written once for vectors of any width (lanes.h). */
#pragma once

#include "kernels/convert/convert.h"
#include "kernels/lanes.h"

enum conversion { WIDEN, NARROW, ROUND, ADD };

SMRI_INLINE void convert_lanes(enum conversion conversion, void *out, const void *in, size_t i, size_t n) {
    const floats v = vload(in, i, n, conversion == WIDEN ? SMRI_BF16 : SMRI_FP32);
    if (conversion == WIDEN) vstore(out, i, v, n, SMRI_FP32);
    if (conversion == NARROW) vstore(out, i, v, n, SMRI_BF16);
    if (conversion == ROUND) vstore(out, i, rounded(v), n, SMRI_FP32);
    if (conversion == ADD) vstore(out, i, vload(out, i, n, SMRI_BF16) + v, n, SMRI_BF16);
}

SMRI_INLINE void convert(enum conversion conversion, void *out, const void *in, size_t n) {
    size_t i = 0;
    for (; i + SMRI_LANES <= n; i += SMRI_LANES) convert_lanes(conversion, out, in, i, SMRI_LANES);
    if (i < n) convert_lanes(conversion, out, in, i, n - i);
}

static void widen(float *out, const smri_bf16 *in, size_t n) { convert(WIDEN, out, in, n); }
static void narrow(smri_bf16 *out, const float *in, size_t n) { convert(NARROW, out, in, n); }
static void round_floats(float *out, const float *in, size_t n) { convert(ROUND, out, in, n); }
static void add(smri_bf16 *io, const float *in, size_t n) { convert(ADD, io, in, n); }

void SMRI_FILLER(smri_convert_kernels)(struct smri_convert_kernels *table) {
    *table = (struct smri_convert_kernels){widen, narrow, round_floats, add};
}
