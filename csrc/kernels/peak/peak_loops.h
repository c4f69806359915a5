/* Multiply-adds on registers, for vectors of any width: the including file has lanes.h and defines multiply_add, how many
 * products it does for each lane, SMRI_PEAK_PRODUCTS, and a factor of ones for it, SMRI_PEAK_FACTOR. Twelve sums hide the latency of two ports (8 suffice), and with a factor fit 16 registers. */
#ifndef SMRI_KERNELS_PEAK_PEAK_LOOPS_H
#define SMRI_KERNELS_PEAK_PEAK_LOOPS_H

#include "kernels/peak/peak.h"

#define SMRI_UNROLL_12 _Pragma("GCC unroll 12") /* or the sums would live on the stack: half the rate */

/* Hides a vector's value, or the compiler would find that all sums are the same. */
#if defined(__x86_64__)
#define SMRI_HIDE(v) __asm__ volatile("" : "+v"(v))
#else
#define SMRI_HIDE(v) __asm__ volatile("" : "+w"(v))
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

#endif
