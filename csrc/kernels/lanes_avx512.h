/* Sixteen floats at a time, the last ones under a mask. A constant mask of all ones costs nothing: it folds to plain
 * loads and stores, which, unlike masked stores, forward to a later load. For files compiled with AVX-512 only. */
#pragma once

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SMRI_LANES ((size_t)16)
#define SMRI_ALL_LANES ((__mmask16)0xFFFF)
#define SMRI_INLINE static inline __attribute__((always_inline))

SMRI_INLINE __mmask16 lanes_of(size_t left) { return left >= SMRI_LANES ? SMRI_ALL_LANES : (__mmask16)((1u << left) - 1); }

SMRI_INLINE __m512 load(const float *p, __mmask16 lanes) {
    return lanes == SMRI_ALL_LANES ? _mm512_loadu_ps(p) : _mm512_maskz_loadu_ps(lanes, p);
}

SMRI_INLINE void store(float *p, __m512 v, __mmask16 lanes) {
    if (lanes == SMRI_ALL_LANES) _mm512_storeu_ps(p, v);
    else _mm512_mask_storeu_ps(p, lanes, v);
}

SMRI_INLINE __m512d low_half(__m512 v) { return _mm512_cvtps_pd(_mm512_castps512_ps256(v)); }
SMRI_INLINE __m512d high_half(__m512 v) { return _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1)); }

#define SMRI_UNROLL_16 _Pragma("GCC unroll 16")

/* 16 x 16 words of 32 bits, in registers: rows are interleaved by 1, 2, 4 and 8 lanes. */
SMRI_INLINE void transpose_16x16(__m512i r[16]) {
    __m512i t[16];
    SMRI_UNROLL_16 for (size_t i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    SMRI_UNROLL_16 for (size_t i = 0; i < 16; i += 4)
        SMRI_UNROLL_16 for (size_t j = 0; j < 2; j++) {
            r[i + 2 * j] = _mm512_unpacklo_epi64(t[i + j], t[i + j + 2]);
            r[i + 2 * j + 1] = _mm512_unpackhi_epi64(t[i + j], t[i + j + 2]);
        }
    SMRI_UNROLL_16 for (size_t i = 0; i < 16; i += 8)
        SMRI_UNROLL_16 for (size_t j = 0; j < 4; j++) {
            t[i + j] = _mm512_shuffle_i32x4(r[i + j], r[i + j + 4], 0x88);
            t[i + j + 4] = _mm512_shuffle_i32x4(r[i + j], r[i + j + 4], 0xDD);
        }
    SMRI_UNROLL_16 for (size_t j = 0; j < 8; j++) {
        r[j] = _mm512_shuffle_i32x4(t[j], t[j + 8], 0x88);
        r[j + 8] = _mm512_shuffle_i32x4(t[j], t[j + 8], 0xDD);
    }
}
