/* One number of an array in either precision. The precision is a constant wherever speed matters. */
#pragma once

#include "smri/precision.h"

static inline float number_at(const void *numbers, size_t i, enum smri_precision precision) {
    return precision == SMRI_BF16 ? smri_bf16_to_float(((const smri_bf16 *)numbers)[i]) : ((const float *)numbers)[i];
}

static inline void set_number(void *numbers, size_t i, float value, enum smri_precision precision) {
    if (precision == SMRI_BF16) ((smri_bf16 *)numbers)[i] = smri_bf16_from_float(value);
    else ((float *)numbers)[i] = value;
}
