/* How activations are stored and multiplied. Weights, their gradients, statistics, losses and optimizer state are always
 * fp32; with SMRI_BF16 the activations between the images and the head, and their gradients, are bfloat16: an fp32 without
 * its lower 16 bits (8 bits of precision, fp32's range). Products of two bfloat16 numbers are added up in fp32 and
 * rounded once. A zeroed struct means SMRI_FP32. */
#ifndef SMRI_PRECISION_H
#define SMRI_PRECISION_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "smri/api.h"

SMRI_API_BEGIN

enum smri_precision { SMRI_FP32, SMRI_BF16, SMRI_PRECISIONS };

typedef uint16_t smri_bf16; /* the upper half of an IEEE 754 binary32 */

/* Bytes of one activation. */
static inline size_t smri_precision_bytes(enum smri_precision precision) {
    return precision == SMRI_BF16 ? sizeof(smri_bf16) : sizeof(float);
}

/* Number i of an array of that precision. */
static inline const void *smri_elem_const(const void *numbers, size_t i, enum smri_precision precision) {
    return (const char *)numbers + i * smri_precision_bytes(precision);
}
static inline void *smri_elem(void *numbers, size_t i, enum smri_precision precision) {
    return (char *)numbers + i * smri_precision_bytes(precision);
}

static inline float smri_bf16_to_float(smri_bf16 value) {
    const uint32_t bits = (uint32_t)value << 16;
    float out;
    memcpy(&out, &bits, sizeof out);
    return out;
}

/* To the nearest, ties to even; overflow gives infinity, NaN stays (quiet) NaN. Denormals are kept. */
static inline smri_bf16 smri_bf16_from_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return (smri_bf16)(bits >> 16 | 0x40u);
    return (smri_bf16)((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

SMRI_API_END

#endif
