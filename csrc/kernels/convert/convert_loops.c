/* The loops behind the vector conversions, written once for vectors of any width (lanes.h). */
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

static void widen(float *out, const smri_bf16 *in, size_t n) { SMRI_FOR_VECTORS(n, convert_lanes, WIDEN, out, in); }
static void narrow(smri_bf16 *out, const float *in, size_t n) { SMRI_FOR_VECTORS(n, convert_lanes, NARROW, out, in); }
static void round_floats(float *out, const float *in, size_t n) { SMRI_FOR_VECTORS(n, convert_lanes, ROUND, out, in); }
static void add(smri_bf16 *io, const float *in, size_t n) { SMRI_FOR_VECTORS(n, convert_lanes, ADD, io, in); }

void SMRI_FILLER(smri_convert_kernels)(struct smri_convert_kernels *table) {
    *table = (struct smri_convert_kernels){widen, narrow, round_floats, add};
}
