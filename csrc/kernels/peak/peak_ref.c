/* Multiply-adds in portable C: enough of them side by side for any compiler's vectors. */
#include "kernels/peak/peak.h"

enum { SUMS = 32 };

static double multiply_add_ref(size_t rounds) {
    volatile float number = 1.0f; /* or the compiler would know the result, and that nobody wants it */
    const float factor = number, term = 0.5f * number;
    float sums[SUMS] = {0};
    for (size_t round = 0; round < rounds; round++)
        for (size_t i = 0; i < SUMS; i++) sums[i] = factor * sums[i] + term;
    for (size_t i = 0; i < SUMS; i++) number = sums[i];
    return 2.0 * SUMS;
}

void smri_peak_kernels_ref(struct smri_peak_kernels *kernels) {
    *kernels = (struct smri_peak_kernels){multiply_add_ref, multiply_add_ref};
}
