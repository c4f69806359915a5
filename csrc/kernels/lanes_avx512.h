/* lanes.h for AVX-512: sixteen floats, the last ones of a row under a mask. */
#pragma once

#include "kernels/transpose_avx512.h"

SMRI_INLINE floats vfma(floats a, floats b, floats c) { return _mm512_fmadd_ps(a, b, c); } /* a b + c */
SMRI_INLINE floats vmax(floats a, floats b) { return _mm512_max_ps(a, b); } /* b, when either is NaN */
SMRI_INLINE floats vmin(floats a, floats b) { return _mm512_min_ps(a, b); }
SMRI_INLINE floats vsqrt(floats v) { return _mm512_sqrt_ps(v); }
SMRI_INLINE floats vround(floats v) { return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT); } /* ties to even */

/* The first n lanes. */
SMRI_INLINE __mmask16 first_lanes(size_t n) { return (__mmask16)((1u << n) - 1); }
SMRI_INLINE floats load_first(const float *p, size_t n) { return _mm512_maskz_loadu_ps(first_lanes(n), p); }
SMRI_INLINE void store_first(float *p, floats v, size_t n) { _mm512_mask_storeu_ps(p, first_lanes(n), v); }

/* Tails by a mask, since calls of memcpy would keep the sums of a tile out of registers. */
SMRI_INLINE halves load_halves(const smri_bf16 *p, size_t n) {
    return (halves)(n < SMRI_LANES ? _mm256_maskz_loadu_epi16(first_lanes(n), p) : _mm256_loadu_si256((const void *)p));
}
SMRI_INLINE void store_halves(smri_bf16 *p, halves v, size_t n) {
    if (n < SMRI_LANES) _mm256_mask_storeu_epi16(p, first_lanes(n), (__m256i)v);
    else _mm256_storeu_si256((void *)p, (__m256i)v);
}

SMRI_INLINE __mmask16 positive_bits(floats v) { return _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_GT_OQ); }

SMRI_INLINE uints words_of(halves numbers) { return (uints)_mm512_cvtepu16_epi32((__m256i)numbers); }
SMRI_INLINE halves narrowed(uints words) { return (halves)_mm512_cvtepi32_epi16((__m512i)words); } /* below 2^16 */

/* n words as bytes: numbers up to 255. */
SMRI_INLINE uints vload_bytes(const uint8_t *p, size_t n) {
    __m128i bytes = {0};
    memcpy(&bytes, p, n);
    return (uints)_mm512_cvtepu8_epi32(bytes);
}
SMRI_INLINE void vstore_bytes(uint8_t *out, uints v, size_t n) {
    _mm512_mask_cvtepi32_storeu_epi8(out, first_lanes(n), (__m512i)v);
}

/* Past the caches: a whole vector at an aligned place. */
SMRI_INLINE halves round_to_bf16(floats v);
SMRI_INLINE void vstore_nt(void *numbers, size_t i, floats v, enum smri_precision precision) {
    if (precision == SMRI_FP32) _mm512_stream_ps((float *)numbers + i, v);
    else _mm256_stream_si256((void *)((smri_bf16 *)numbers + i), (__m256i)round_to_bf16(v));
}

SMRI_INLINE doubles low_half(floats v) { return _mm512_cvtps_pd(_mm512_castps512_ps256(v)); }
SMRI_INLINE doubles high_half(floats v) { return _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1)); }
SMRI_INLINE floats from_halves(doubles low, doubles high) {
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low)), _mm512_cvtpd_ps(high), 1);
}
SMRI_INLINE doubles vfma_double(doubles a, doubles b, doubles c) { return _mm512_fmadd_pd(a, b, c); }
SMRI_INLINE double reduce_add(doubles v) { return _mm512_reduce_add_pd(v); }

SMRI_INLINE void vtranspose(floats r[16]) { /* SMRI_LANES rows of as many numbers */
    __m512i words[16];
    SMRI_UNROLL_16 for (size_t i = 0; i < 16; i++) words[i] = (__m512i)r[i];
    transpose_16x16(words);
    SMRI_UNROLL_16 for (size_t i = 0; i < 16; i++) r[i] = (floats)words[i];
}
