/* The conversions in portable C. */
#include "kernels/convert/convert.h"

static void widen_ref(float *out, const smri_bf16 *in, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = smri_bf16_to_float(in[i]);
}

static void narrow_ref(smri_bf16 *out, const float *in, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = smri_bf16_from_float(in[i]);
}

static void round_ref(float *out, const float *in, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = smri_bf16_to_float(smri_bf16_from_float(in[i]));
}

static void add_ref(smri_bf16 *io, const float *in, size_t n) {
    for (size_t i = 0; i < n; i++) io[i] = smri_bf16_from_float(smri_bf16_to_float(io[i]) + in[i]);
}

void smri_convert_kernels_ref(struct smri_convert_kernels *kernels) {
    *kernels = (struct smri_convert_kernels){widen_ref, narrow_ref, round_ref, add_ref};
}
