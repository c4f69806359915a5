/* Transposes a square of words in registers. For files compiled with AVX-512 only, those for AMX among them. */
#pragma once

#include <immintrin.h>

#include "kernels/family.h"

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
