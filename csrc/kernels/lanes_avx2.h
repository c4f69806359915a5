/* lanes.h for AVX2 and FMA: eight floats. */
#pragma once

#include <immintrin.h>

SMRI_INLINE floats vfma(floats a, floats b, floats c) { return _mm256_fmadd_ps(a, b, c); } /* a b + c */
SMRI_INLINE floats vmax(floats a, floats b) { return _mm256_max_ps(a, b); } /* b, when either is NaN */
SMRI_INLINE floats vmin(floats a, floats b) { return _mm256_min_ps(a, b); }
SMRI_INLINE floats vsqrt(floats v) { return _mm256_sqrt_ps(v); }
SMRI_INLINE floats vround(floats v) { return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT); } /* ties to even */

/* The first n lanes. */
SMRI_INLINE __m256i first_lanes(size_t n) { return (__m256i)((int32_t)n > (ints){0, 1, 2, 3, 4, 5, 6, 7}); }
SMRI_INLINE floats load_first(const float *p, size_t n) { return _mm256_maskload_ps(p, first_lanes(n)); }
SMRI_INLINE void store_first(float *p, floats v, size_t n) { _mm256_maskstore_ps(p, first_lanes(n), v); }

/* a where the words are all ones, b where they are zero. */
SMRI_INLINE floats vselect(uints which, floats a, floats b) { return _mm256_blendv_ps(b, a, (floats)which); }
SMRI_INLINE unsigned positive_bits(floats v) { return (unsigned)_mm256_movemask_ps((floats)(v > 0.0f)); }

SMRI_INLINE uints words_of(halves numbers) { return (uints)_mm256_cvtepu16_epi32((__m128i)numbers); }
SMRI_INLINE halves narrowed(uints words) { /* numbers below 2^16 */
    const __m256i w = (__m256i)words;
    return (halves)_mm_packus_epi32(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
}

/* n words as bytes: numbers up to 255. */
SMRI_INLINE uints vload_bytes(const uint8_t *p, size_t n) {
    int64_t bytes = 0;
    memcpy(&bytes, p, n);
    return (uints)_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(bytes));
}
SMRI_INLINE void vstore_bytes(uint8_t *out, uints v, size_t n) {
    const __m128i pairs = (__m128i)narrowed(v);
    const int64_t bytes = _mm_cvtsi128_si64(_mm_packus_epi16(pairs, pairs));
    memcpy(out, &bytes, n);
}

/* Past the caches: a whole vector at an aligned place. */
SMRI_INLINE halves round_to_bf16(floats v);
SMRI_INLINE void vstore_nt(void *numbers, size_t i, floats v, enum smri_precision precision) {
    if (precision == SMRI_FP32) _mm256_stream_ps((float *)numbers + i, v);
    else _mm_stream_si128((void *)((smri_bf16 *)numbers + i), (__m128i)round_to_bf16(v));
}

SMRI_INLINE doubles low_half(floats v) { return _mm256_cvtps_pd(_mm256_castps256_ps128(v)); }
SMRI_INLINE doubles high_half(floats v) { return _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1)); }
SMRI_INLINE floats from_halves(doubles low, doubles high) {
    return _mm256_set_m128(_mm256_cvtpd_ps(high), _mm256_cvtpd_ps(low));
}
SMRI_INLINE doubles vfma_double(doubles a, doubles b, doubles c) { return _mm256_fmadd_pd(a, b, c); }
SMRI_INLINE double reduce_add(doubles v) { return (v[0] + v[1]) + (v[2] + v[3]); }

#define SMRI_UNROLL_8 _Pragma("GCC unroll 8")

/* SMRI_LANES rows of as many numbers: rows are interleaved by 1, 2 and 4 lanes. */
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
