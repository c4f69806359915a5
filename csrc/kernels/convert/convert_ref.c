/* The conversions in portable C. */
#include "kernels/convert/convert.h"
#include "kernels/elem.h"

static void widen(void *out, const void *in, size_t n) {
    for (size_t i = 0; i < n; i++) ((float *)out)[i] = number_at(in, i, SMRI_BF16);
}

static void narrow(void *out, const void *in, size_t n) {
    for (size_t i = 0; i < n; i++) set_number(out, i, ((const float *)in)[i], SMRI_BF16);
}

static void round_floats(void *out, const void *in, size_t n) {
    for (size_t i = 0; i < n; i++) ((float *)out)[i] = smri_bf16_to_float(smri_bf16_from_float(((const float *)in)[i]));
}

static void add(void *out, const void *in, size_t n) {
    for (size_t i = 0; i < n; i++) set_number(out, i, number_at(out, i, SMRI_BF16) + ((const float *)in)[i], SMRI_BF16);
}

void smri_convert_kernels_ref(struct smri_convert_kernels *kernels) {
    *kernels = (struct smri_convert_kernels){{widen, narrow, round_floats, add}};
}
