/* Vectors of floats as wide as the instruction set of the including file: sixteen in AVX-512, eight in AVX2 and, in two
 * registers, in NEON, so that a lane computes what AVX2's computes and the bits agree; elsewhere four, by operators alone.
 * What C's operators on vectors (GCC's and Clang's) can say is here, once; lanes_<isa>.h has what takes an instruction. A
 * file that defines SMRI_SINGLE_REGISTERS gets four in NEON, too, and less of what is below: compilers keep pairs of
 * registers in memory.
 *
 * Arrays are of either precision. The last, incomplete vector of a row takes n < SMRI_LANES: what is missing is read as
 * zero, and nothing behind the row is touched. n and the precision are constants wherever these are inlined into a loop,
 * so that whole vectors cost nothing more than plain loads and stores.
 *
 * Rounding to bfloat16 is integer arithmetic (add half a unit, ties to even; NaN apart), or with AVX512_BF16 the
 * instruction, which differs in one thing: it takes denormal numbers, |x| < 2^-126, for zeros of their sign. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "kernels/family.h"

/* Vectors are passed between inlined functions of one file only: no calling convention is at stake. */
#pragma GCC diagnostic ignored "-Wpsabi"

#if defined(__AVX512F__)
#define SMRI_LANES 16
#elif defined(__AVX2__) || (defined(__aarch64__) && !defined(SMRI_SINGLE_REGISTERS))
#define SMRI_LANES 8
#else
#define SMRI_LANES 4
#endif
typedef float floats __attribute__((vector_size(4 * SMRI_LANES)));
typedef float floats_anywhere __attribute__((vector_size(4 * SMRI_LANES), aligned(4), may_alias)); /* in an array */
typedef int32_t ints __attribute__((vector_size(4 * SMRI_LANES)));
typedef uint32_t uints __attribute__((vector_size(4 * SMRI_LANES)));
typedef uint16_t halves __attribute__((vector_size(2 * SMRI_LANES)));
typedef double doubles __attribute__((vector_size(4 * SMRI_LANES))); /* half as many */

#if defined(__AVX512F__) || !defined(__AVX2__)
/* a where the words are all ones, b where they are zero. */
SMRI_INLINE floats vselect(uints which, floats a, floats b) {
    return (floats)(((uints)a & which) | ((uints)b & ~which));
}
#endif

#if defined(__AVX512F__)
#include "kernels/lanes_avx512.h"
#elif defined(__AVX2__)
#include "kernels/lanes_avx2.h"
#else
/* The first n lanes. */
SMRI_INLINE floats load_first(const float *p, size_t n) {
    floats v = {0};
    memcpy(&v, p, n * sizeof *p);
    return v;
}
SMRI_INLINE void store_first(float *p, floats v, size_t n) { memcpy(p, &v, n * sizeof *p); }

SMRI_INLINE floats vmax(floats a, floats b) { return vselect((uints)(a > b), a, b); } /* b, when either is NaN */
SMRI_INLINE floats vmin(floats a, floats b) { return vselect((uints)(a < b), a, b); }

SMRI_INLINE uints words_of(halves numbers) { return __builtin_convertvector(numbers, uints); }
SMRI_INLINE halves narrowed(uints words) { return __builtin_convertvector(words, halves); } /* numbers below 2^16 */

/* n words as bytes: numbers up to 255. */
typedef uint8_t octets __attribute__((vector_size(SMRI_LANES)));
SMRI_INLINE uints vload_bytes(const uint8_t *p, size_t n) {
    octets bytes = {0};
    memcpy(&bytes, p, n);
    return __builtin_convertvector(bytes, uints);
}
SMRI_INLINE void vstore_bytes(uint8_t *out, uints v, size_t n) {
    const octets bytes = __builtin_convertvector(v, octets);
    memcpy(out, &bytes, n);
}
#if defined(__aarch64__)
#include "kernels/lanes_neon.h"
#else
SMRI_INLINE floats vfma(floats a, floats b, floats c) { return a * b + c; } /* rounded twice */
#endif
#endif

#if !defined(__AVX512F__)
SMRI_INLINE halves load_halves(const smri_bf16 *p, size_t n) {
    halves v = {0};
    memcpy(&v, p, n * sizeof *p);
    return v;
}
SMRI_INLINE void store_halves(smri_bf16 *p, halves v, size_t n) { memcpy(p, &v, n * sizeof *p); }
#endif

SMRI_INLINE floats vset1(float value) { return value - (floats){0}; }

SMRI_INLINE ints vnumbers(void) { /* 0, 1, 2 ... */
    static const int32_t numbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    ints v;
    memcpy(&v, numbers, sizeof v);
    return v;
}

SMRI_INLINE floats widened(halves numbers) { return (floats)(words_of(numbers) << 16); }

SMRI_INLINE halves round_to_bf16(floats v) {
#if defined(__AVX512BF16__)
    return (halves)_mm512_cvtneps_pbh(v);
#else
    const uints bits = (uints)v, upper = bits >> 16, nearest = (bits + (upper & 1) + 0x7FFF) >> 16;
    return narrowed((uints)vselect((uints)(v == v), (floats)nearest, (floats)(upper | 0x40)));
#endif
}

SMRI_INLINE floats rounded(floats v) { return widened(round_to_bf16(v)); }

SMRI_INLINE floats vload(const void *numbers, size_t i, size_t n, enum smri_precision precision) {
    const float *p = (const float *)numbers + i;
    if (precision == SMRI_FP32 && n < SMRI_LANES) return load_first(p, n);
    if (precision == SMRI_BF16) return widened(load_halves((const smri_bf16 *)numbers + i, n));
    return *(const floats_anywhere *)p;
}

SMRI_INLINE void vstore(void *numbers, size_t i, floats v, size_t n, enum smri_precision precision) {
    float *p = (float *)numbers + i;
    if (precision == SMRI_BF16) store_halves((smri_bf16 *)numbers + i, round_to_bf16(v), n);
    else if (n < SMRI_LANES) store_first(p, v, n);
    else *(floats_anywhere *)p = v;
}

#if SMRI_LANES >= 8 /* not of single registers of NEON */
SMRI_INLINE floats vfnma(floats a, floats b, floats c) { return vfma(-a, b, c); } /* c - a b */
SMRI_INLINE floats vfms(floats a, floats b, floats c) { return vfma(a, b, -c); }  /* a b - c */
SMRI_INLINE floats vabs(floats v) { return (floats)((uints)v & 0x7FFFFFFF); }

SMRI_INLINE floats positive(floats v) { return vmax((floats){0}, v); } /* v, when it is NaN */

/* v where `by` is positive, else 0. */
SMRI_INLINE floats where_positive(floats v, floats by) { return (floats)((uints)v & (uints)(by > 0.0f)); }

/* The same in two steps: a bit for each of n lanes, in (n + 7) / 8 bytes; and v where they are set. */
SMRI_INLINE void vstore_positive_bits(uint8_t *bits, floats by, size_t n) {
    const uint16_t set = positive_bits(by);
    memcpy(bits, &set, (n + 7) / 8);
}
SMRI_INLINE floats where_bits(floats v, const uint8_t *bits, size_t n) {
    uint16_t set = 0;
    memcpy(&set, bits, (n + 7) / 8);
    const uints lane = (uints)(1 << vnumbers());
    return (floats)((uints)v & (uints)((lane & set) == lane));
}

/* v 2^n in two steps, since 2^n alone may leave the range: n is -150 to 128. */
SMRI_INLINE floats vscale2(floats v, floats n) {
    const ints whole = __builtin_convertvector(n, ints), half = whole >> 1, rest = whole - half;
    return v * (floats)((half + 127) << 23) * (floats)((rest + 127) << 23);
}

/* The first n lanes are loaded, or kept; the others are `fill`, or zero. */
SMRI_INLINE floats vload_or(const float *p, size_t n, floats fill) {
    memcpy(&fill, p, (n < SMRI_LANES ? n : SMRI_LANES) * sizeof *p);
    return fill;
}
SMRI_INLINE floats vkeep(floats v, size_t n) {
    return n >= SMRI_LANES ? v : (floats)((uints)v & (uints)(vnumbers() < (int32_t)n));
}

SMRI_INLINE float reduce_max(floats v) {
    float best = v[0];
    for (int i = 1; i < SMRI_LANES; i++) best = v[i] > best ? v[i] : best;
    return best;
}

SMRI_INLINE doubles vset1_double(double value) { return value - (doubles){0}; }

/* sums[0..n) += v, in double. */
SMRI_INLINE void add_in_double(double *sums, floats v, size_t n) {
    if (n == SMRI_LANES) {
        doubles low, high;
        memcpy(&low, sums, sizeof low);
        memcpy(&high, sums + SMRI_LANES / 2, sizeof high);
        low += low_half(v), high += high_half(v);
        memcpy(sums, &low, sizeof low);
        memcpy(sums + SMRI_LANES / 2, &high, sizeof high);
    } else {
        for (size_t k = 0; k < n; k++) sums[k] += (double)v[k];
    }
}

/* Whether rows of C numbers that begin at p, `stride` apart, can be written past the caches by whole cache lines. */
SMRI_INLINE bool fits_lines(const void *p, size_t C, size_t stride, enum smri_precision precision) {
    const size_t bytes = smri_precision_bytes(precision);
    return (uintptr_t)p % 64 == 0 && C * bytes % 64 == 0 && stride * bytes % 64 == 0;
}
#endif
