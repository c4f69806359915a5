/* The vector conversions, for vectors of any width (lanes.h). */
#include "kernels/convert/convert.h"
#include "kernels/lanes.h"

SMRI_INLINE void convert_lanes(enum smri_conversion conversion, void *out, const void *in, size_t i, size_t n) {
    const floats v = vload(in, i, n, conversion == SMRI_WIDEN ? SMRI_BF16 : SMRI_FP32);
    if (conversion == SMRI_WIDEN) vstore(out, i, v, n, SMRI_FP32);
    if (conversion == SMRI_NARROW) vstore(out, i, v, n, SMRI_BF16);
    if (conversion == SMRI_ROUND) vstore(out, i, rounded(v), n, SMRI_FP32);
    if (conversion == SMRI_ADD) vstore(out, i, vload(out, i, n, SMRI_BF16) + v, n, SMRI_BF16);
}

static void widen(void *out, const void *in, size_t n) { SMRI_FOR_VECTORS(n, convert_lanes, SMRI_WIDEN, out, in); }
static void narrow(void *out, const void *in, size_t n) { SMRI_FOR_VECTORS(n, convert_lanes, SMRI_NARROW, out, in); }
static void round_floats(void *out, const void *in, size_t n) { SMRI_FOR_VECTORS(n, convert_lanes, SMRI_ROUND, out, in); }
static void add(void *out, const void *in, size_t n) { SMRI_FOR_VECTORS(n, convert_lanes, SMRI_ADD, out, in); }

void SMRI_FILLER(smri_convert_kernels)(struct smri_convert_kernels *table) {
    *table = (struct smri_convert_kernels){{widen, narrow, round_floats, add}};
}
