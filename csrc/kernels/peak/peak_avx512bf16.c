/* AVX512_BF16: VDPBF16PS adds two products of bfloat16 numbers to each of 16 sums. */
#include "kernels/peak/peak.h"

#include <immintrin.h>

#define UNROLL_ALL _Pragma("GCC unroll 12") /* or the sums would live on the stack: half the rate */

enum { SUMS = 12, SMRI_LANES = 16, PRODUCTS = 2 };

static double multiply_add_avx512bf16(size_t rounds) {
    const __m512bh factor = (__m512bh)_mm512_set1_epi16(0x3F80); /* 1 */
    __m512 sums[SUMS];
    UNROLL_ALL for (size_t i = 0; i < SUMS; i++) sums[i] = _mm512_setzero_ps();
    for (size_t round = 0; round < rounds; round++)
        UNROLL_ALL for (size_t i = 0; i < SUMS; i++) {
            sums[i] = _mm512_dpbf16_ps(sums[i], factor, factor);
            __asm__ volatile("" : "+v"(sums[i])); /* or the compiler would find that all sums are the same */
        }
    return 2.0 * SUMS * SMRI_LANES * PRODUCTS;
}

void smri_peak_kernels_avx512bf16(struct smri_peak_kernels *kernels) { kernels->bf16 = multiply_add_avx512bf16; }
