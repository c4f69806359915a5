/* Winograd's transforms in portable C, one channel at a time: what the vector variants are compared with. */
#include "kernels/elem.h"
#include "kernels/winograd/winograd.h"

typedef float floats;
#define SMRI_LANES 1

SMRI_INLINE float vset1(float f) { return f; }
SMRI_INLINE float vfma(float a, float b, float c) { return a * b + c; }
SMRI_INLINE float rounded(float v) { return smri_bf16_to_float(smri_bf16_from_float(v)); }
SMRI_INLINE float positive(float v) { return v < 0.0f ? 0.0f : v; }
SMRI_INLINE float vload(const void *numbers, size_t i, size_t n, enum smri_precision precision) {
    return number_at(numbers, i, precision);
}
SMRI_INLINE void vstore(void *numbers, size_t i, float v, size_t n, enum smri_precision precision) {
    set_number(numbers, i, v, precision);
}

#define SMRI_ISA ref
#include "kernels/winograd/winograd_tiles.h"
