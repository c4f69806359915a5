/* Multiply-adds in AVX-512: twelve sums hide the latency of two ports (8 suffice), and with two factors fit 16 registers. */
#include "kernels/peak/peak.h"

#include <immintrin.h>

#define UNROLL_ALL _Pragma("GCC unroll 12") /* or the sums would live on the stack: half the rate */

enum { SUMS = 12, SMRI_LANES = 16 };

static double multiply_add_avx512(size_t rounds) {
    const __m512 factor = _mm512_set1_ps(1.0f);
    __m512 sums[SUMS];
    UNROLL_ALL for (size_t i = 0; i < SUMS; i++) sums[i] = _mm512_setzero_ps();
    for (size_t round = 0; round < rounds; round++)
        UNROLL_ALL for (size_t i = 0; i < SUMS; i++) {
            sums[i] = _mm512_fmadd_ps(factor, factor, sums[i]);
            __asm__ volatile("" : "+v"(sums[i])); /* or the compiler would find that all sums are the same */
        }
    return 2.0 * SUMS * SMRI_LANES;
}

void smri_peak_kernels_avx512(struct smri_peak_kernels *kernels) {
    *kernels = (struct smri_peak_kernels){multiply_add_avx512, multiply_add_avx512};
}
