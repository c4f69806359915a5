/* What the kernels for AVX-512 and AMX need of a compiler's immintrin.h, in plain C: vectors of 512 bits and tile registers. In
 * front of the compiler's own folder it lets any processor run those kernels (make -C csrc check-amx). Intel SDM volume 2. */
#ifndef SMRI_TESTS_EMULATED_IMMINTRIN_H
#define SMRI_TESTS_EMULATED_IMMINTRIN_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#pragma GCC diagnostic ignored "-Wpsabi"

/* Calls, not inlined: hundreds of them unrolled in one kernel would take a compiler minutes. */
#define EMULATED static __attribute__((noinline, unused))

typedef float __m512 __attribute__((vector_size(64)));
typedef double __m512d __attribute__((vector_size(64)));
typedef int64_t __m512i __attribute__((vector_size(64)));
typedef uint16_t __m512bh __attribute__((vector_size(64)));
typedef float __m256 __attribute__((vector_size(32)));
typedef int64_t __m256i __attribute__((vector_size(32)));
typedef uint16_t __mmask16;
typedef uint32_t __mmask32;

/* One vector as lanes of any size. */
union emulated_lanes {
    __m512 ps;
    __m512d pd;
    __m512i si;
    __m512bh bh;
    float f32[16];
    double f64[8];
    uint16_t u16[32];
    uint32_t u32[16];
    uint64_t u64[8];
};

#define EMULATED_EACH(n) for (int i = 0; i < (n); i++)

/* ---- vectors ---- */

EMULATED __m512 _mm512_setzero_ps(void) { return (__m512){0}; }
EMULATED __m512i _mm512_setzero_si512(void) { return (__m512i){0}; }
EMULATED __m512i _mm512_setr_epi64(int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f, int64_t g, int64_t h) {
    return (__m512i){a, b, c, d, e, f, g, h};
}
#define _mm512_set_epi16(...) emulated_set_epi16((const uint16_t[32]){__VA_ARGS__})
EMULATED __m512i emulated_set_epi16(const uint16_t highest_first[32]) {
    union emulated_lanes r;
    EMULATED_EACH(32) r.u16[i] = highest_first[31 - i];
    return r.si;
}

EMULATED __m512 _mm512_loadu_ps(const void *p) {
    __m512 v;
    memcpy(&v, p, sizeof v);
    return v;
}
EMULATED __m512i _mm512_loadu_si512(const void *p) { return (__m512i)_mm512_loadu_ps(p); }
EMULATED void _mm512_storeu_ps(void *p, __m512 v) { memcpy(p, &v, sizeof v); }
EMULATED void _mm512_storeu_si512(void *p, __m512i v) { memcpy(p, &v, sizeof v); }
EMULATED void emulated_aligned(const void *p) {
    assert((uintptr_t)p % 64 == 0);
    (void)p;
}
EMULATED __m512 _mm512_load_ps(const void *p) { return emulated_aligned(p), _mm512_loadu_ps(p); }
EMULATED __m512i _mm512_load_si512(const void *p) { return emulated_aligned(p), _mm512_loadu_si512(p); }
EMULATED void _mm512_store_ps(void *p, __m512 v) { emulated_aligned(p), _mm512_storeu_ps(p, v); }
EMULATED void _mm512_store_si512(void *p, __m512i v) { emulated_aligned(p), _mm512_storeu_si512(p, v); }
EMULATED void _mm512_stream_ps(void *p, __m512 v) { _mm512_store_ps(p, v); }
EMULATED void _mm512_stream_si512(void *p, __m512i v) { _mm512_store_si512(p, v); }

EMULATED __m512 _mm512_maskz_loadu_ps(__mmask16 mask, const float *p) {
    union emulated_lanes r = {.si = {0}};
    EMULATED_EACH(16) if (mask >> i & 1) r.f32[i] = p[i];
    return r.ps;
}
EMULATED __m512 _mm512_maskz_load_ps(__mmask16 mask, const float *p) { return _mm512_maskz_loadu_ps(mask, p); }
EMULATED void _mm512_mask_storeu_ps(float *p, __mmask16 mask, __m512 v) {
    EMULATED_EACH(16) if (mask >> i & 1) p[i] = v[i];
}
EMULATED __m512i _mm512_maskz_loadu_epi16(__mmask32 mask, const void *p) {
    union emulated_lanes r = {.si = {0}};
    EMULATED_EACH(32) if (mask >> i & 1) memcpy(&r.u16[i], (const uint16_t *)p + i, sizeof r.u16[i]);
    return r.si;
}
EMULATED void _mm512_mask_storeu_epi16(void *p, __mmask32 mask, __m512i v) {
    const union emulated_lanes from = {.si = v};
    EMULATED_EACH(32) if (mask >> i & 1) memcpy((uint16_t *)p + i, &from.u16[i], sizeof from.u16[i]);
}

EMULATED __m512 _mm512_add_ps(__m512 a, __m512 b) { return a + b; }
EMULATED __m512 _mm512_castsi512_ps(__m512i a) { return (__m512)a; }
EMULATED __m256i _mm512_castsi512_si256(__m512i a) { return (__m256i){a[0], a[1], a[2], a[3]}; }
EMULATED __m256i _mm512_extracti64x4_epi64(__m512i a, int half) {
    return half ? (__m256i){a[4], a[5], a[6], a[7]} : _mm512_castsi512_si256(a);
}
EMULATED __m256 _mm512_castps512_ps256(__m512 a) { return (__m256)_mm512_castsi512_si256((__m512i)a); }
EMULATED __m256 _mm512_extractf32x8_ps(__m512 a, int half) { return (__m256)_mm512_extracti64x4_epi64((__m512i)a, half); }
EMULATED __m512d _mm512_cvtps_pd(__m256 a) { return __builtin_convertvector(a, __m512d); }
EMULATED __m512i _mm512_cvtepu16_epi32(__m256i a) {
    union emulated_lanes r;
    uint16_t from[16];
    memcpy(from, &a, sizeof from);
    EMULATED_EACH(16) r.u32[i] = from[i];
    return r.si;
}
EMULATED __m512i _mm512_slli_epi32(__m512i a, int by) {
    union emulated_lanes r = {.si = a};
    EMULATED_EACH(16) r.u32[i] <<= by;
    return r.si;
}
EMULATED uint16_t emulated_round(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (value != value) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}
EMULATED __m512bh _mm512_cvtne2ps_pbh(__m512 high, __m512 low) {
    union emulated_lanes r;
    EMULATED_EACH(16) r.u16[i] = emulated_round(low[i]), r.u16[16 + i] = emulated_round(high[i]);
    return r.bh;
}

EMULATED __m512i _mm512_permutexvar_epi64(__m512i index, __m512i a) {
    union emulated_lanes r;
    EMULATED_EACH(8) r.u64[i] = (uint64_t)a[index[i] & 7];
    return r.si;
}
EMULATED __m512i _mm512_permutexvar_epi16(__m512i index, __m512i a) {
    const union emulated_lanes at = {.si = index}, from = {.si = a};
    union emulated_lanes r;
    EMULATED_EACH(32) r.u16[i] = from.u16[at.u16[i] & 31];
    return r.si;
}
/* Lanes of `size` bytes, alternately of a and b, from the lower or upper half of each 128 bits. */
EMULATED __m512i emulated_unpack(__m512i a, __m512i b, int size, int upper) {
    __m512i r;
    for (int quarter = 0; quarter < 4; quarter++)
        for (int i = 0; i < 16 / size; i++)
            memcpy((char *)&r + 16 * quarter + i * size, (const char *)(i % 2 ? &b : &a) + 16 * quarter + 8 * upper + i / 2 * size,
                   (size_t)size);
    return r;
}
EMULATED __m512i _mm512_unpacklo_epi16(__m512i a, __m512i b) { return emulated_unpack(a, b, 2, 0); }
EMULATED __m512i _mm512_unpackhi_epi16(__m512i a, __m512i b) { return emulated_unpack(a, b, 2, 1); }
EMULATED __m512i _mm512_unpacklo_epi32(__m512i a, __m512i b) { return emulated_unpack(a, b, 4, 0); }
EMULATED __m512i _mm512_unpackhi_epi32(__m512i a, __m512i b) { return emulated_unpack(a, b, 4, 1); }
EMULATED __m512i _mm512_unpacklo_epi64(__m512i a, __m512i b) { return emulated_unpack(a, b, 8, 0); }
EMULATED __m512i _mm512_unpackhi_epi64(__m512i a, __m512i b) { return emulated_unpack(a, b, 8, 1); }
EMULATED __m512i _mm512_shuffle_i32x4(__m512i a, __m512i b, int control) {
    __m512i r;
    EMULATED_EACH(8) r[i] = (i < 4 ? a : b)[2 * (control >> i / 2 * 2 & 3) + i % 2];
    return r;
}

#include "avx512.h"

#define _MM_HINT_T1 2
#define _MM_HINT_ET0 7
#define _mm_prefetch(p, hint) ((void)(p))
EMULATED void _mm_sfence(void) {}

/* ---- tile registers ---- */

static _Thread_local struct {
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config;
    char data[8][16][64];
} emulated_tiles;

EMULATED void _tile_loadconfig(const void *config) {
    memset(&emulated_tiles, 0, sizeof emulated_tiles);
    memcpy(&emulated_tiles.config, config, sizeof emulated_tiles.config);
}
EMULATED void _tile_release(void) { memset(&emulated_tiles, 0, sizeof emulated_tiles); }
EMULATED void _tile_zero(int tile) {
    assert(emulated_tiles.config.palette == 1);
    memset(emulated_tiles.data[tile], 0, sizeof emulated_tiles.data[tile]);
}
EMULATED void _tile_loadd(int tile, const void *base, size_t stride) {
    _tile_zero(tile);
    EMULATED_EACH(emulated_tiles.config.rows[tile])
        memcpy(emulated_tiles.data[tile][i], (const char *)base + (size_t)i * stride, emulated_tiles.config.row_bytes[tile]);
}
EMULATED void _tile_stored(int tile, void *base, size_t stride) {
    assert(emulated_tiles.config.palette == 1);
    EMULATED_EACH(emulated_tiles.config.rows[tile])
        memcpy((char *)base + (size_t)i * stride, emulated_tiles.data[tile][i], emulated_tiles.config.row_bytes[tile]);
}

EMULATED float emulated_bf16(int tile, int row, int column) {
    uint16_t half;
    memcpy(&half, emulated_tiles.data[tile][row] + 2 * column, sizeof half);
    const uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

EMULATED void _tile_dpbf16ps(int sums, int a, int b) {
    assert(emulated_tiles.config.rows[sums] == emulated_tiles.config.rows[a]);
    assert(emulated_tiles.config.row_bytes[a] == 4 * emulated_tiles.config.rows[b]);
    assert(emulated_tiles.config.row_bytes[sums] == emulated_tiles.config.row_bytes[b]);
    const int depth = emulated_tiles.config.row_bytes[a] / 4, columns = emulated_tiles.config.row_bytes[sums] / 4;
    EMULATED_EACH(emulated_tiles.config.rows[sums])
        for (int n = 0; n < columns; n++) {
            float even = 0.0f, odd = 0.0f, sum;
            for (int k = 0; k < depth; k++) {
                even += emulated_bf16(a, i, 2 * k) * emulated_bf16(b, k, 2 * n);
                odd += emulated_bf16(a, i, 2 * k + 1) * emulated_bf16(b, k, 2 * n + 1);
            }
            memcpy(&sum, emulated_tiles.data[sums][i] + 4 * n, sizeof sum);
            sum += even + odd;
            memcpy(emulated_tiles.data[sums][i] + 4 * n, &sum, sizeof sum);
        }
}

#endif
