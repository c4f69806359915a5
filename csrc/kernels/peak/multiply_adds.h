/* Multiply-adds on registers, for vectors of any width: the including file has lanes.h. One with an instruction for bfloat16 defines
 * multiply_add by it, how many products that does for each lane, SMRI_PEAK_PRODUCTS, and a factor of ones for it,
 * SMRI_PEAK_FACTOR. Twelve sums hide the latency of two ports (8 suffice), and with a factor fit 16 registers. */
#pragma once

#include "kernels/peak/peak.h"

#define SMRI_UNROLL_12 _Pragma("GCC unroll 12") /* or the sums would live on the stack: half the rate */

/* Hides a vector's value, or the compiler would find that all sums are the same. */
#if defined(__x86_64__)
#define SMRI_HIDE(v) __asm__ volatile("" : "+v"(v))
#elif defined(__aarch64__)
#define SMRI_HIDE(v) __asm__ volatile("" : "+w"(v))
#else
#define SMRI_HIDE(v) __asm__ volatile("" : "+m"(v))
#endif

#if !defined(SMRI_PEAK_PRODUCTS)
#define SMRI_PEAK_PRODUCTS 1
#define SMRI_PEAK_FACTOR vset1(1.0f)
SMRI_INLINE floats multiply_add(floats a, floats b, floats sum) { return vfma(a, b, sum); }
#endif

enum { SUMS = 12 };

static double many_multiply_adds(size_t rounds) {
    floats factor = SMRI_PEAK_FACTOR, sums[SUMS];
    SMRI_HIDE(factor);
    SMRI_UNROLL_12 for (size_t i = 0; i < SUMS; i++) sums[i] = vset1(0.0f);
    for (size_t round = 0; round < rounds; round++)
        SMRI_UNROLL_12 for (size_t i = 0; i < SUMS; i++) {
            sums[i] = multiply_add(factor, factor, sums[i]);
            SMRI_HIDE(sums[i]);
        }
    return 2.0 * SUMS * SMRI_LANES * SMRI_PEAK_PRODUCTS;
}

void SMRI_FILLER(smri_peak_kernels)(struct smri_peak_kernels *kernels) {
    if (SMRI_PEAK_PRODUCTS == 1) kernels->fp32 = many_multiply_adds;
    kernels->bf16 = many_multiply_adds;
}
