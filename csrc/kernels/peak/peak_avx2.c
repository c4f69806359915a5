/* Multiply-adds in AVX2: twelve sums hide the latency of two ports (8 suffice), and with two factors fit 16 registers. */
#include "kernels/peak/peak.h"

#include <immintrin.h>

#define UNROLL_ALL _Pragma("GCC unroll 12") /* or the sums would live on the stack: half the rate */

enum { SUMS = 12, SMRI_LANES = 8 };

static double multiply_add_avx2(size_t rounds) {
    const __m256 factor = _mm256_set1_ps(1.0f);
    __m256 sums[SUMS];
    UNROLL_ALL for (size_t i = 0; i < SUMS; i++) sums[i] = _mm256_setzero_ps();
    for (size_t round = 0; round < rounds; round++)
        UNROLL_ALL for (size_t i = 0; i < SUMS; i++) {
            sums[i] = _mm256_fmadd_ps(factor, factor, sums[i]);
            __asm__ volatile("" : "+v"(sums[i])); /* or the compiler would find that all sums are the same */
        }
    return 2.0 * SUMS * SMRI_LANES;
}

void smri_peak_kernels_avx2(struct smri_peak_kernels *kernels) {
    *kernels = (struct smri_peak_kernels){multiply_add_avx2, multiply_add_avx2};
}
