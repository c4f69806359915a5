/* lanes.h for NEON on aarch64: eight floats in two registers, so that each lane computes what AVX2's lane computes and the
 * results have the same bits. For files compiled for aarch64 only. */
#pragma once

#include <arm_neon.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "smri/precision.h"

/* Vectors are passed between inlined functions of one file only: no calling convention is at stake. */
#pragma GCC diagnostic ignored "-Wpsabi"

#define SMRI_LANES ((size_t)8)
#define SMRI_INLINE static inline __attribute__((always_inline))
typedef float floats __attribute__((vector_size(32)));
typedef double doubles __attribute__((vector_size(32)));
typedef uint32_t uints __attribute__((vector_size(32)));
typedef uint16_t smri_halves __attribute__((vector_size(16)));

SMRI_INLINE float32x4_t low_four(floats v) { return __builtin_shufflevector(v, v, 0, 1, 2, 3); }
SMRI_INLINE float32x4_t high_four(floats v) { return __builtin_shufflevector(v, v, 4, 5, 6, 7); }
SMRI_INLINE floats both_fours(float32x4_t low, float32x4_t high) {
    return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
}

SMRI_INLINE floats vset1(float value) { return both_fours(vdupq_n_f32(value), vdupq_n_f32(value)); }
SMRI_INLINE floats vfma(floats a, floats b, floats c) { /* a b + c */
    return both_fours(vfmaq_f32(low_four(c), low_four(a), low_four(b)), vfmaq_f32(high_four(c), high_four(a), high_four(b)));
}

SMRI_INLINE floats widened(smri_halves halves) { return (floats)(__builtin_convertvector(halves, uints) << 16); }

SMRI_INLINE floats vload(const void *numbers, size_t i, size_t n, enum smri_precision precision) {
    if (precision == SMRI_FP32) {
        floats v = {0};
        memcpy(&v, (const float *)numbers + i, n * sizeof(float));
        return v;
    }
    smri_halves halves = {0};
    memcpy(&halves, (const smri_bf16 *)numbers + i, n * sizeof(smri_bf16));
    return widened(halves);
}

SMRI_INLINE smri_halves round_to_bf16(floats v) {
    const uints bits = (uints)v, upper = bits >> 16, nearest = (bits + (upper & 1) + 0x7FFF) >> 16;
    const uints nan = (uints)(v != v);
    return __builtin_convertvector((nearest & ~nan) | ((upper | 0x40) & nan), smri_halves);
}

SMRI_INLINE void vstore(void *numbers, size_t i, floats v, size_t n, enum smri_precision precision) {
    const smri_halves halves = round_to_bf16(v);
    if (precision == SMRI_FP32) memcpy((float *)numbers + i, &v, n * sizeof(float));
    else memcpy((smri_bf16 *)numbers + i, &halves, n * sizeof(smri_bf16));
}

/* There are no stores past the caches that would pay here. */
SMRI_INLINE void vstore_nt(void *numbers, size_t i, floats v, enum smri_precision precision) {
    vstore(numbers, i, v, SMRI_LANES, precision);
}
SMRI_INLINE void vstore_fence(void) {}

SMRI_INLINE floats positive(floats v) { return (floats)((uints)v & ~(uints)(v < 0.0f)); } /* v, when it is NaN */
SMRI_INLINE floats where_positive(floats v, floats by) { return (floats)((uints)v & (uints)(by > 0.0f)); }

SMRI_INLINE void vstore_positive_bits(uint8_t *bits, floats by, size_t n) {
    uint8_t set = 0;
    for (int i = 0; i < 8; i++) set |= (uint8_t)((by[i] > 0.0f) << i);
    *bits = set;
}
SMRI_INLINE floats where_bits(floats v, const uint8_t *bits, size_t n) {
    const uints lane = {1, 2, 4, 8, 16, 32, 64, 128}, set = (uints)((*bits & lane) != 0);
    return (floats)((uints)v & set);
}

SMRI_INLINE doubles low_half(floats v) { return __builtin_convertvector(low_four(v), doubles); }
SMRI_INLINE doubles high_half(floats v) { return __builtin_convertvector(high_four(v), doubles); }
SMRI_INLINE doubles vset1_double(double value) { return (doubles){value, value, value, value}; }
SMRI_INLINE floats from_halves(doubles low, doubles high) {
    return both_fours(__builtin_convertvector(low, float32x4_t), __builtin_convertvector(high, float32x4_t));
}

SMRI_INLINE floats vfnma(floats a, floats b, floats c) { return vfma(-a, b, c); } /* c - a b */
SMRI_INLINE floats vfms(floats a, floats b, floats c) { return vfma(a, b, -c); }  /* a b - c */
SMRI_INLINE floats vabs(floats v) { return (floats)((uints)v & 0x7FFFFFFF); }
SMRI_INLINE floats vsqrt(floats v) { return both_fours(vsqrtq_f32(low_four(v)), vsqrtq_f32(high_four(v))); }

/* b, when either is NaN, as on x86. */
SMRI_INLINE floats vselect(uints which, floats a, floats b) {
    return (floats)(((uints)a & which) | ((uints)b & ~which));
}
SMRI_INLINE floats vmax(floats a, floats b) { return vselect((uints)(a > b), a, b); }
SMRI_INLINE floats vmin(floats a, floats b) { return vselect((uints)(a < b), a, b); }
SMRI_INLINE floats vround(floats v) { return both_fours(vrndnq_f32(low_four(v)), vrndnq_f32(high_four(v))); }

/* v 2^n in two steps, since 2^n alone may leave the range: n is -150 to 128. */
SMRI_INLINE floats vscale2(floats v, floats n) {
    typedef int32_t signed_words __attribute__((vector_size(32)));
    const signed_words whole = __builtin_convertvector(n, signed_words), half = whole >> 1, rest = whole - half;
    return v * (floats)((half + 127) << 23) * (floats)((rest + 127) << 23);
}

SMRI_INLINE floats vload_or(const float *p, size_t n, floats fill) {
    memcpy(&fill, p, (n < SMRI_LANES ? n : SMRI_LANES) * sizeof *p);
    return fill;
}
SMRI_INLINE floats vkeep(floats v, size_t n) {
    floats kept = {0};
    memcpy(&kept, &v, (n < SMRI_LANES ? n : SMRI_LANES) * sizeof(float));
    return kept;
}

SMRI_INLINE float reduce_max(floats v) {
    float best = v[0];
    for (int i = 1; i < 8; i++) best = v[i] > best ? v[i] : best;
    return best;
}
SMRI_INLINE double reduce_add(doubles v) { return (v[0] + v[1]) + (v[2] + v[3]); }
SMRI_INLINE doubles vfma_double(doubles a, doubles b, doubles c) {
    for (int i = 0; i < 4; i++) c[i] = __builtin_fma(a[i], b[i], c[i]);
    return c;
}

/* The first n lanes as bytes: of numbers up to 255. */
typedef uint8_t smri_bytes __attribute__((vector_size(8)));
SMRI_INLINE void vstore_bytes(uint8_t *out, uints v, size_t n) {
    const smri_bytes bytes = __builtin_convertvector(v, smri_bytes);
    memcpy(out, &bytes, n);
}
SMRI_INLINE uints vload_bytes(const uint8_t *p, size_t n) {
    smri_bytes bytes = {0};
    memcpy(&bytes, p, n);
    return __builtin_convertvector(bytes, uints);
}

/* High and low words of the products of all lanes. */
SMRI_INLINE void vmul_wide(uints *high, uints *low, uints a, uint32_t b) {
    typedef uint64_t longs __attribute__((vector_size(64)));
    const longs product = __builtin_convertvector(a, longs) * b;
    *high = __builtin_convertvector(product >> 32, uints), *low = __builtin_convertvector(product, uints);
}

/* Four vectors as rows of 4 x 4 words, each such square transposed. */
SMRI_INLINE void vtranspose_fours(uints r[4]) {
    const uints a = __builtin_shufflevector(r[0], r[1], 0, 8, 1, 9, 4, 12, 5, 13);
    const uints b = __builtin_shufflevector(r[0], r[1], 2, 10, 3, 11, 6, 14, 7, 15);
    const uints c = __builtin_shufflevector(r[2], r[3], 0, 8, 1, 9, 4, 12, 5, 13);
    const uints d = __builtin_shufflevector(r[2], r[3], 2, 10, 3, 11, 6, 14, 7, 15);
    r[0] = __builtin_shufflevector(a, c, 0, 1, 8, 9, 4, 5, 12, 13), r[1] = __builtin_shufflevector(a, c, 2, 3, 10, 11, 6, 7, 14, 15);
    r[2] = __builtin_shufflevector(b, d, 0, 1, 8, 9, 4, 5, 12, 13), r[3] = __builtin_shufflevector(b, d, 2, 3, 10, 11, 6, 7, 14, 15);
}

/* sums[0..n) += v, in double. */
SMRI_INLINE void add_in_double(double *sums, floats v, size_t n) {
    for (size_t k = 0; k < n; k++) sums[k] += (double)v[k];
}
