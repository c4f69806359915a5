/* Vectors of floats as wide as the instruction set of the including file, loaded from and stored to arrays of either
 * precision: sixteen in AVX-512, eight in AVX2. The last, incomplete one of a row takes n < SMRI_LANES: what is
 * missing is read as zero, and nothing behind the row is touched. n and the precision are constants wherever these are
 * inlined into a loop, so that whole vectors cost nothing more than plain loads and stores.
 *
 * Rounding to bfloat16 is integer arithmetic (add half a unit, ties to even; NaN apart), or with AVX512_BF16 the instruction,
 * which differs in one thing: it takes denormal numbers, |x| < 2^-126, for zeros of their sign. */
#ifndef SMRI_KERNELS_LANES_H
#define SMRI_KERNELS_LANES_H

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
#define SMRI_LANES ((size_t)8)
#define SMRI_INLINE static inline __attribute__((always_inline))
typedef __m256 floats;
typedef __m256d doubles;
#endif

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
    (void)n; /* at most eight: one byte */
    *bits = (uint8_t)_mm256_movemask_ps(_mm256_cmp_ps(by, _mm256_setzero_ps(), _CMP_GT_OQ));
}
SMRI_INLINE floats where_bits(floats v, const uint8_t *bits, size_t n) {
    (void)n;
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

#endif

#if defined(__x86_64__)
SMRI_INLINE void vstore_fence(void) { _mm_sfence(); } /* completes vstore_nt */
#endif

SMRI_INLINE floats rounded(floats v) { return widened(round_to_bf16(v)); }

/* Whether rows of C numbers that begin at p, `stride` apart, can be written past the caches by whole cache lines. */
SMRI_INLINE bool fits_lines(const void *p, size_t C, size_t stride, enum smri_precision precision) {
    const size_t bytes = smri_precision_bytes(precision);
    return (uintptr_t)p % 64 == 0 && C * bytes % 64 == 0 && stride * bytes % 64 == 0;
}

#endif
