/* Vectors of floats as wide as the instruction set of the including file, loaded from and stored to arrays of either
 * precision: sixteen in AVX-512, eight in AVX2. The last, incomplete one of a row takes n < SMRI_LANES: what is
 * missing is read as zero, and nothing behind the row is touched. n and the precision are constants wherever these are
 * inlined into a loop, so that whole vectors cost nothing more than plain loads and stores.
 * Sums, products and quotients of vectors are written with C's operators.
 *
 * Rounding to bfloat16 is integer arithmetic (add half a unit, ties to even; NaN apart), or with AVX512_BF16 the instruction,
 * which differs in one thing: it takes denormal numbers, |x| < 2^-126, for zeros of their sign. */
#pragma once

#include <string.h>

#include "smri/precision.h"

#if defined(__aarch64__)
#include "kernels/lanes_neon.h"
#elif defined(__AVX512F__)
#include "kernels/lanes_avx512.h"
typedef __m512 floats;
typedef __m512d doubles;
#else
#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>
#define SMRI_LANES ((size_t)8)
#define SMRI_INLINE static inline __attribute__((always_inline))
#define SMRI_UNROLL_8 _Pragma("GCC unroll 8")
typedef __m256 floats;
typedef __m256d doubles;
#endif
typedef uint32_t uints __attribute__((vector_size(4 * SMRI_LANES)));

/* ---- AVX-512 ---- */
#if defined(__AVX512F__)

SMRI_INLINE floats vset1(float value) { return _mm512_set1_ps(value); }
SMRI_INLINE floats vfma(floats a, floats b, floats c) { return _mm512_fmadd_ps(a, b, c); } /* a b + c */

SMRI_INLINE floats widened(__m256i halves) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves),
                                                                                          16)); }

SMRI_INLINE floats vload(const void *numbers, size_t i, size_t n, enum smri_precision precision) {
    const __mmask16 lanes = lanes_of(n);
    if (precision == SMRI_FP32) return load((const float *)numbers + i, lanes);
    const smri_bf16 *p = (const smri_bf16 *)numbers + i;
    const __m256i halves = n == SMRI_LANES ? _mm256_loadu_si256((const void *)p) : _mm256_maskz_loadu_epi16(lanes, p);
    return widened(halves);
}

SMRI_INLINE __m256i round_to_bf16(floats v) {
#if defined(__AVX512BF16__)
    return (__m256i)_mm512_cvtneps_pbh(v);
#else
    const __m512i bits = _mm512_castps_si512(v), upper = _mm512_srli_epi32(bits, 16);
    const __m512i half = _mm512_add_epi32(_mm512_and_si512(upper, _mm512_set1_epi32(1)), _mm512_set1_epi32(0x7FFF));
    const __m512i nearest = _mm512_srli_epi32(_mm512_add_epi32(bits, half), 16);
    const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(_mm512_mask_or_epi32(nearest, nan, upper, _mm512_set1_epi32(0x40)));
#endif
}

SMRI_INLINE void vstore(void *numbers, size_t i, floats v, size_t n, enum smri_precision precision) {
    const __mmask16 lanes = lanes_of(n);
    if (precision == SMRI_FP32) {
        store((float *)numbers + i, v, lanes);
        return;
    }
    smri_bf16 *p = (smri_bf16 *)numbers + i;
    if (n == SMRI_LANES) _mm256_storeu_si256((void *)p, round_to_bf16(v));
    else _mm256_mask_storeu_epi16(p, lanes, round_to_bf16(v));
}

/* Past the caches: a whole vector at an aligned place. */
SMRI_INLINE void vstore_nt(void *numbers, size_t i, floats v, enum smri_precision precision) {
    if (precision == SMRI_FP32) _mm512_stream_ps((float *)numbers + i, v);
    else _mm256_stream_si256((void *)((smri_bf16 *)numbers + i), round_to_bf16(v));
}

SMRI_INLINE floats positive(floats v) { return _mm512_max_ps(_mm512_setzero_ps(), v); } /* v, when it is NaN */

/* v where `by` is positive, else 0. */
SMRI_INLINE floats where_positive(floats v, floats by) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(by, _mm512_setzero_ps(), _CMP_GT_OQ), v);
}

/* The same in two steps: a bit for each of n lanes, in (n + 7) / 8 bytes; and v where they are set. */
SMRI_INLINE void vstore_positive_bits(uint8_t *bits, floats by, size_t n) {
    const uint16_t set = _mm512_cmp_ps_mask(by, _mm512_setzero_ps(), _CMP_GT_OQ);
    memcpy(bits, &set, (n + 7) / 8);
}
SMRI_INLINE floats where_bits(floats v, const uint8_t *bits, size_t n) {
    uint16_t set = 0;
    memcpy(&set, bits, (n + 7) / 8);
    return _mm512_maskz_mov_ps(set, v);
}

SMRI_INLINE doubles vset1_double(double value) { return _mm512_set1_pd(value); }
SMRI_INLINE floats from_halves(doubles low, doubles high) {
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low)), _mm512_cvtpd_ps(high), 1);
}

/* sums[0..n) += v, in double. */
SMRI_INLINE void add_in_double(double *sums, floats v, size_t n) {
    if (n == SMRI_LANES) {
        _mm512_storeu_pd(sums, _mm512_add_pd(_mm512_loadu_pd(sums), low_half(v)));
        _mm512_storeu_pd(sums + 8, _mm512_add_pd(_mm512_loadu_pd(sums + 8), high_half(v)));
    } else {
        const __mmask8 low = (__mmask8)lanes_of(n), high = (__mmask8)(lanes_of(n) >> 8);
        _mm512_mask_storeu_pd(sums, low, _mm512_add_pd(_mm512_maskz_loadu_pd(low, sums), low_half(v)));
        _mm512_mask_storeu_pd(sums + 8, high, _mm512_add_pd(_mm512_maskz_loadu_pd(high, sums + 8), high_half(v)));
    }
}

SMRI_INLINE floats vfnma(floats a, floats b, floats c) { return _mm512_fnmadd_ps(a, b, c); } /* c - a b */
SMRI_INLINE floats vfms(floats a, floats b, floats c) { return _mm512_fmsub_ps(a, b, c); }   /* a b - c */
SMRI_INLINE floats vsqrt(floats v) { return _mm512_sqrt_ps(v); }
SMRI_INLINE floats vabs(floats v) { return _mm512_abs_ps(v); }
SMRI_INLINE floats vmax(floats a, floats b) { return _mm512_max_ps(a, b); } /* b, when either is NaN */
SMRI_INLINE floats vmin(floats a, floats b) { return _mm512_min_ps(a, b); }
SMRI_INLINE floats vround(floats v) { return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT); } /* ties to even */
SMRI_INLINE floats vscale2(floats v, floats n) { return _mm512_scalef_ps(v, n); }                  /* v 2^n, rounded once */

/* The first n lanes are loaded, or kept; the others are `fill`, or zero. */
SMRI_INLINE floats vload_or(const float *p, size_t n, floats fill) { return _mm512_mask_loadu_ps(fill, lanes_of(n), p); }
SMRI_INLINE floats vkeep(floats v, size_t n) { return _mm512_maskz_mov_ps(lanes_of(n), v); }

SMRI_INLINE float reduce_max(floats v) { return _mm512_reduce_max_ps(v); }
SMRI_INLINE double reduce_add(doubles v) { return _mm512_reduce_add_pd(v); }
SMRI_INLINE doubles vfma_double(doubles a, doubles b, doubles c) { return _mm512_fmadd_pd(a, b, c); }

SMRI_INLINE void vtranspose(floats r[16]) { /* SMRI_LANES rows of as many numbers */
    __m512i words[16];
    SMRI_UNROLL_16 for (size_t i = 0; i < 16; i++) words[i] = _mm512_castps_si512(r[i]);
    transpose_16x16(words);
    SMRI_UNROLL_16 for (size_t i = 0; i < 16; i++) r[i] = _mm512_castsi512_ps(words[i]);
}

/* High and low words of the products of all lanes: even and odd ones are multiplied apart. */
SMRI_INLINE void vmul_wide(uints *high, uints *low, uints a, uint32_t b) {
    const __m512i factor = _mm512_set1_epi32((int)b);
    const __m512i even = _mm512_mul_epu32((__m512i)a, factor);
    const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64((__m512i)a, 32), factor);
    *high = (uints)_mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB);
    *low = (uints)_mm512_mask_shuffle_epi32(even, 0xAAAA, odd, _MM_PERM_CCAA);
}

/* Four vectors as rows of 4 x 4 words, each such square transposed. */
SMRI_INLINE void vtranspose_fours(uints r[4]) {
    const __m512i a = _mm512_unpacklo_epi32((__m512i)r[0], (__m512i)r[1]), b = _mm512_unpackhi_epi32((__m512i)r[0], (__m512i)r[1]);
    const __m512i c = _mm512_unpacklo_epi32((__m512i)r[2], (__m512i)r[3]), d = _mm512_unpackhi_epi32((__m512i)r[2], (__m512i)r[3]);
    r[0] = (uints)_mm512_unpacklo_epi64(a, c), r[1] = (uints)_mm512_unpackhi_epi64(a, c);
    r[2] = (uints)_mm512_unpacklo_epi64(b, d), r[3] = (uints)_mm512_unpackhi_epi64(b, d);
}

/* ---- AVX2 ---- */
#elif defined(__AVX2__)

SMRI_INLINE floats vset1(float value) { return _mm256_set1_ps(value); }
SMRI_INLINE floats vfma(floats a, floats b, floats c) { return _mm256_fmadd_ps(a, b, c); } /* a b + c */

SMRI_INLINE __m256i first_lanes(size_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

SMRI_INLINE floats widened(__m128i halves) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves),
                                                                                          16)); }

SMRI_INLINE floats vload(const void *numbers, size_t i, size_t n, enum smri_precision precision) {
    if (precision == SMRI_FP32) {
        const float *p = (const float *)numbers + i;
        return n == SMRI_LANES ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, first_lanes(n));
    }
    __m128i halves = _mm_setzero_si128();
    if (n == SMRI_LANES) halves = _mm_loadu_si128((const void *)((const smri_bf16 *)numbers + i));
    else memcpy(&halves, (const smri_bf16 *)numbers + i, n * sizeof(smri_bf16));
    return widened(halves);
}

SMRI_INLINE __m128i round_to_bf16(floats v) {
    const __m256i bits = _mm256_castps_si256(v), upper = _mm256_srli_epi32(bits, 16);
    const __m256i half = _mm256_add_epi32(_mm256_and_si256(upper, _mm256_set1_epi32(1)), _mm256_set1_epi32(0x7FFF));
    const __m256i nearest = _mm256_srli_epi32(_mm256_add_epi32(bits, half), 16);
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    const __m256i words = _mm256_blendv_epi8(nearest, _mm256_or_si256(upper, _mm256_set1_epi32(0x40)), nan);
    return _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

SMRI_INLINE void vstore(void *numbers, size_t i, floats v, size_t n, enum smri_precision precision) {
    if (precision == SMRI_FP32) {
        float *p = (float *)numbers + i;
        if (n == SMRI_LANES) _mm256_storeu_ps(p, v);
        else _mm256_maskstore_ps(p, first_lanes(n), v);
        return;
    }
    const __m128i halves = round_to_bf16(v);
    if (n == SMRI_LANES) _mm_storeu_si128((void *)((smri_bf16 *)numbers + i), halves);
    else memcpy((smri_bf16 *)numbers + i, &halves, n * sizeof(smri_bf16));
}

SMRI_INLINE void vstore_nt(void *numbers, size_t i, floats v, enum smri_precision precision) {
    if (precision == SMRI_FP32) _mm256_stream_ps((float *)numbers + i, v);
    else _mm_stream_si128((void *)((smri_bf16 *)numbers + i), round_to_bf16(v));
}

SMRI_INLINE floats positive(floats v) { return _mm256_max_ps(_mm256_setzero_ps(), v); } /* v, when it is NaN */

SMRI_INLINE floats where_positive(floats v, floats by) {
    return _mm256_and_ps(v, _mm256_cmp_ps(by, _mm256_setzero_ps(), _CMP_GT_OQ));
}

SMRI_INLINE void vstore_positive_bits(uint8_t *bits, floats by, size_t n) {
    *bits = (uint8_t)_mm256_movemask_ps(_mm256_cmp_ps(by, _mm256_setzero_ps(), _CMP_GT_OQ));
}
SMRI_INLINE floats where_bits(floats v, const uint8_t *bits, size_t n) {
    const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i set = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(*bits), lane), lane);
    return _mm256_and_ps(v, _mm256_castsi256_ps(set));
}

SMRI_INLINE doubles low_half(floats v) { return _mm256_cvtps_pd(_mm256_castps256_ps128(v)); }
SMRI_INLINE doubles high_half(floats v) { return _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1)); }
SMRI_INLINE doubles vset1_double(double value) { return _mm256_set1_pd(value); }
SMRI_INLINE floats from_halves(doubles low, doubles high) { return _mm256_set_m128(_mm256_cvtpd_ps(high),
                                                                                   _mm256_cvtpd_ps(low)); }

SMRI_INLINE void add_in_double(double *sums, floats v, size_t n) {
    const doubles low = low_half(v), high = high_half(v);
    if (n == SMRI_LANES) {
        _mm256_storeu_pd(sums, _mm256_add_pd(_mm256_loadu_pd(sums), low));
        _mm256_storeu_pd(sums + 4, _mm256_add_pd(_mm256_loadu_pd(sums + 4), high));
        return;
    }
    double parts[8];
    _mm256_storeu_pd(parts, low);
    _mm256_storeu_pd(parts + 4, high);
    for (size_t k = 0; k < n; k++) sums[k] += parts[k];
}

SMRI_INLINE floats vfnma(floats a, floats b, floats c) { return _mm256_fnmadd_ps(a, b, c); } /* c - a b */
SMRI_INLINE floats vfms(floats a, floats b, floats c) { return _mm256_fmsub_ps(a, b, c); }   /* a b - c */
SMRI_INLINE floats vsqrt(floats v) { return _mm256_sqrt_ps(v); }
SMRI_INLINE floats vabs(floats v) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v); }
SMRI_INLINE floats vmax(floats a, floats b) { return _mm256_max_ps(a, b); } /* b, when either is NaN */
SMRI_INLINE floats vmin(floats a, floats b) { return _mm256_min_ps(a, b); }
SMRI_INLINE floats vround(floats v) { return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

/* v 2^n in two steps, since 2^n alone may leave the range: n is -150 to 128. */
SMRI_INLINE floats vscale2(floats v, floats n) {
    const __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1), rest = _mm256_sub_epi32(whole, half);
    const __m256i bias = _mm256_set1_epi32(127);
    const floats first = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
    const floats second = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
    return _mm256_mul_ps(_mm256_mul_ps(v, first), second);
}

SMRI_INLINE floats vload_or(const float *p, size_t n, floats fill) {
    if (n >= SMRI_LANES) return _mm256_loadu_ps(p);
    const __m256i lanes = first_lanes(n);
    return _mm256_blendv_ps(fill, _mm256_maskload_ps(p, lanes), _mm256_castsi256_ps(lanes));
}
SMRI_INLINE floats vkeep(floats v, size_t n) {
    return n >= SMRI_LANES ? v : _mm256_and_ps(v, _mm256_castsi256_ps(first_lanes(n)));
}

SMRI_INLINE float reduce_max(floats v) {
    float lanes[8], best;
    _mm256_storeu_ps(lanes, v);
    best = lanes[0];
    for (size_t i = 1; i < 8; i++) best = lanes[i] > best ? lanes[i] : best;
    return best;
}
SMRI_INLINE double reduce_add(doubles v) { return (v[0] + v[1]) + (v[2] + v[3]); }
SMRI_INLINE doubles vfma_double(doubles a, doubles b, doubles c) { return _mm256_fmadd_pd(a, b, c); }

/* Rows are interleaved by 1, 2 and 4 lanes. */
SMRI_INLINE void vtranspose(floats r[8]) {
    floats t[8];
    SMRI_UNROLL_8 for (size_t i = 0; i < 8; i += 2)
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]), t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    SMRI_UNROLL_8 for (size_t i = 0; i < 8; i += 4)
        for (size_t j = 0; j < 2; j++) {
            r[i + 2 * j] = _mm256_shuffle_ps(t[i + j], t[i + j + 2], 0x44);
            r[i + 2 * j + 1] = _mm256_shuffle_ps(t[i + j], t[i + j + 2], 0xEE);
        }
    SMRI_UNROLL_8 for (size_t j = 0; j < 4; j++) {
        t[j] = _mm256_permute2f128_ps(r[j], r[j + 4], 0x20);
        t[j + 4] = _mm256_permute2f128_ps(r[j], r[j + 4], 0x31);
    }
    SMRI_UNROLL_8 for (size_t j = 0; j < 8; j++) r[j] = t[j];
}

/* a where the words are all ones, b where they are zero. */
SMRI_INLINE floats vselect(uints which, floats a, floats b) { return _mm256_blendv_ps(b, a, (__m256)which); }

/* The first n lanes as bytes: of numbers up to 255. */
SMRI_INLINE void vstore_bytes(uint8_t *out, uints v, size_t n) {
    const __m128i pairs = _mm_packus_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
    const int64_t bytes = _mm_cvtsi128_si64(_mm_packus_epi16(pairs, pairs));
    memcpy(out, &bytes, n);
}
SMRI_INLINE uints vload_bytes(const uint8_t *p, size_t n) {
    int64_t bytes = 0;
    memcpy(&bytes, p, n);
    return (uints)_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(bytes));
}

SMRI_INLINE void vmul_wide(uints *high, uints *low, uints a, uint32_t b) {
    const __m256i factor = _mm256_set1_epi32((int)b);
    const __m256i even = _mm256_mul_epu32((__m256i)a, factor);
    const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64((__m256i)a, 32), factor);
    *high = (uints)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
    *low = (uints)_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
}

SMRI_INLINE void vtranspose_fours(uints r[4]) {
    const __m256i a = _mm256_unpacklo_epi32((__m256i)r[0], (__m256i)r[1]), b = _mm256_unpackhi_epi32((__m256i)r[0], (__m256i)r[1]);
    const __m256i c = _mm256_unpacklo_epi32((__m256i)r[2], (__m256i)r[3]), d = _mm256_unpackhi_epi32((__m256i)r[2], (__m256i)r[3]);
    r[0] = (uints)_mm256_unpacklo_epi64(a, c), r[1] = (uints)_mm256_unpackhi_epi64(a, c);
    r[2] = (uints)_mm256_unpacklo_epi64(b, d), r[3] = (uints)_mm256_unpackhi_epi64(b, d);
}

#endif

#if defined(__x86_64__)
SMRI_INLINE void vstore_fence(void) { _mm_sfence(); } /* completes vstore_nt */
#endif

/* Lane l of a sequence that vtranspose_fours puts in order: LANES / 4 (l % 4) + l / 4. */
SMRI_INLINE uints vlane_order(void) {
    uints order;
    for (uint32_t l = 0; l < SMRI_LANES; l++) order[l] = (uint32_t)SMRI_LANES / 4 * (l % 4) + l / 4;
    return order;
}

SMRI_INLINE floats rounded(floats v) { return widened(round_to_bf16(v)); }

/* Whether rows of C numbers that begin at p, `stride` apart, can be written past the caches by whole cache lines. */
SMRI_INLINE bool fits_lines(const void *p, size_t C, size_t stride, enum smri_precision precision) {
    const size_t bytes = smri_precision_bytes(precision);
    return (uintptr_t)p % 64 == 0 && C * bytes % 64 == 0 && stride * bytes % 64 == 0;
}
