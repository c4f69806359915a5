/* AVX-512's arithmetic, comparisons and masks in plain C, as far as the kernels use them: what immintrin.h beside this file
 * includes. Lane by lane as the Intel SDM (volume 2) gives it, rounding, signs of zero and NaN included. */
#ifndef SMRI_TESTS_EMULATED_AVX512_H
#define SMRI_TESTS_EMULATED_AVX512_H

#include <math.h>

typedef int64_t __m128i __attribute__((vector_size(16)));
typedef uint8_t __mmask8;

enum { _CMP_UNORD_Q = 3, _CMP_GT_OQ = 30, _MM_FROUND_TO_NEAREST_INT = 0, _MM_PERM_CCAA = 0xA0, _MM_PERM_DDBB = 0xF5 };

/* ---- one value in all lanes ---- */

EMULATED __m512 _mm512_set1_ps(float value) { return value - (__m512){0}; }
EMULATED __m512d _mm512_set1_pd(double value) { return value - (__m512d){0}; }
EMULATED __m512i _mm512_set1_epi32(int value) {
    union emulated_lanes r;
    EMULATED_EACH(16) r.u32[i] = (uint32_t)value;
    return r.si;
}
EMULATED __m512i _mm512_set1_epi16(short value) {
    union emulated_lanes r;
    EMULATED_EACH(32) r.u16[i] = (uint16_t)value;
    return r.si;
}
EMULATED __m128i _mm_set1_epi8(char value) {
    __m128i r;
    memset(&r, value, sizeof r);
    return r;
}
EMULATED __m256i _mm256_setzero_si256(void) { return (__m256i){0}; }
EMULATED __m512i emulated_setr_epi32(const uint32_t lowest_first[16]) {
    union emulated_lanes r;
    memcpy(r.u32, lowest_first, sizeof r.u32);
    return r.si;
}

/* ---- loads and stores ---- */

EMULATED __m512d _mm512_loadu_pd(const void *p) { return (__m512d)_mm512_loadu_ps(p); }
EMULATED void _mm512_storeu_pd(void *p, __m512d v) { memcpy(p, &v, sizeof v); }
EMULATED __m512d _mm512_maskz_loadu_pd(__mmask8 mask, const double *p) {
    __m512d r = {0};
    EMULATED_EACH(8) if (mask >> i & 1) r[i] = p[i];
    return r;
}
EMULATED void _mm512_mask_storeu_pd(double *p, __mmask8 mask, __m512d v) {
    EMULATED_EACH(8) if (mask >> i & 1) p[i] = v[i];
}
EMULATED __m512 _mm512_mask_loadu_ps(__m512 other, __mmask16 mask, const float *p) {
    EMULATED_EACH(16) if (mask >> i & 1) other[i] = p[i];
    return other;
}
EMULATED void _mm512_mask_storeu_epi32(void *p, __mmask16 mask, __m512i v) { _mm512_mask_storeu_ps(p, mask, (__m512)v); }
EMULATED __m256i _mm256_loadu_si256(const void *p) {
    __m256i v;
    memcpy(&v, p, sizeof v);
    return v;
}
EMULATED void _mm256_storeu_si256(void *p, __m256i v) { memcpy(p, &v, sizeof v); }
EMULATED void _mm256_stream_si256(void *p, __m256i v) {
    assert((uintptr_t)p % 32 == 0);
    _mm256_storeu_si256(p, v);
}
EMULATED __m256i _mm256_maskz_loadu_epi16(__mmask16 mask, const void *p) {
    return _mm512_castsi512_si256(_mm512_maskz_loadu_epi16(mask, p));
}
EMULATED void _mm256_mask_storeu_epi16(void *p, __mmask16 mask, __m256i v) {
    _mm512_mask_storeu_epi16(p, mask, (__m512i){v[0], v[1], v[2], v[3]});
}
EMULATED __m128i _mm_loadu_si128(const void *p) {
    __m128i v;
    memcpy(&v, p, sizeof v);
    return v;
}
EMULATED __m128i _mm_maskz_loadu_epi8(__mmask16 mask, const void *p) {
    uint8_t bytes[16] = {0};
    EMULATED_EACH(16) if (mask >> i & 1) bytes[i] = ((const uint8_t *)p)[i];
    return _mm_loadu_si128(bytes);
}
EMULATED void _mm512_mask_cvtepi32_storeu_epi8(void *p, __mmask16 mask, __m512i v) {
    const union emulated_lanes from = {.si = v};
    EMULATED_EACH(16) if (mask >> i & 1) ((uint8_t *)p)[i] = (uint8_t)from.u32[i];
}
EMULATED void _mm512_mask_cvtepi16_storeu_epi8(void *p, __mmask32 mask, __m512i v) {
    const union emulated_lanes from = {.si = v};
    EMULATED_EACH(32) if (mask >> i & 1) ((uint8_t *)p)[i] = (uint8_t)from.u16[i];
}
EMULATED __m512 _mm512_i32gather_ps(__m512i index, const void *base, int scale) {
    const union emulated_lanes at = {.si = index};
    __m512 r;
    EMULATED_EACH(16) {
        float value;
        memcpy(&value, (const char *)base + (ptrdiff_t)(int32_t)at.u32[i] * scale, sizeof value);
        r[i] = value;
    }
    return r;
}

/* ---- floats ---- */

#define EMULATED_FLOATS(lanes_, one_lane) \
    __m512 r;                             \
    EMULATED_EACH(lanes_) r[i] = one_lane; \
    return r

EMULATED __m512 _mm512_fmadd_ps(__m512 a, __m512 b, __m512 c) { EMULATED_FLOATS(16, fmaf(a[i], b[i], c[i])); }
EMULATED __m512 _mm512_fmsub_ps(__m512 a, __m512 b, __m512 c) { EMULATED_FLOATS(16, fmaf(a[i], b[i], -c[i])); }
EMULATED __m512 _mm512_fnmadd_ps(__m512 a, __m512 b, __m512 c) { EMULATED_FLOATS(16, fmaf(-a[i], b[i], c[i])); }
EMULATED __m512 _mm512_max_ps(__m512 a, __m512 b) { EMULATED_FLOATS(16, a[i] > b[i] ? a[i] : b[i]); }
EMULATED __m512 _mm512_min_ps(__m512 a, __m512 b) { EMULATED_FLOATS(16, a[i] < b[i] ? a[i] : b[i]); }
EMULATED __m512 _mm512_sqrt_ps(__m512 a) { EMULATED_FLOATS(16, sqrtf(a[i])); }
EMULATED __m512 _mm512_abs_ps(__m512 a) { EMULATED_FLOATS(16, fabsf(a[i])); }
EMULATED __m512 _mm512_roundscale_ps(__m512 a, int control) {
    assert(control == _MM_FROUND_TO_NEAREST_INT);
    (void)control;
    EMULATED_FLOATS(16, rintf(a[i]));
}
/* A double holds a 2^n exactly for every n that the kernels ask for, so that the float is rounded once. */
EMULATED __m512 _mm512_scalef_ps(__m512 a, __m512 n) { EMULATED_FLOATS(16, (float)scalbn((double)a[i], (int)floorf(n[i]))); }
EMULATED __m512 _mm512_mask_mov_ps(__m512 other, __mmask16 mask, __m512 a) {
    EMULATED_FLOATS(16, mask >> i & 1 ? a[i] : other[i]);
}
EMULATED __m512 _mm512_maskz_mov_ps(__mmask16 mask, __m512 a) { return _mm512_mask_mov_ps((__m512){0}, mask, a); }
EMULATED __m512 _mm512_mask_add_ps(__m512 other, __mmask16 mask, __m512 a, __m512 b) {
    return _mm512_mask_mov_ps(other, mask, a + b);
}
EMULATED __m512 _mm512_maskz_mul_ps(__mmask16 mask, __m512 a, __m512 b) { return _mm512_maskz_mov_ps(mask, a * b); }
EMULATED __mmask16 _mm512_mask_cmp_ps_mask(__mmask16 mask, __m512 a, __m512 b, int predicate) {
    __mmask16 r = 0;
    assert(predicate == _CMP_GT_OQ || predicate == _CMP_UNORD_Q);
    EMULATED_EACH(16) {
        const bool holds = predicate == _CMP_GT_OQ ? a[i] > b[i] : a[i] != a[i] || b[i] != b[i];
        r = (__mmask16)(r | holds << i);
    }
    return r & mask;
}
EMULATED __mmask16 _mm512_cmp_ps_mask(__m512 a, __m512 b, int predicate) {
    return _mm512_mask_cmp_ps_mask(0xFFFF, a, b, predicate);
}
EMULATED float _mm512_reduce_max_ps(__m512 a) {
    float best = a[0];
    EMULATED_EACH(16) best = a[i] > best ? a[i] : best;
    return best;
}

/* ---- doubles ---- */

EMULATED __m512d _mm512_add_pd(__m512d a, __m512d b) { return a + b; }
EMULATED __m512d _mm512_fmadd_pd(__m512d a, __m512d b, __m512d c) {
    EMULATED_EACH(8) c[i] = fma(a[i], b[i], c[i]);
    return c;
}
EMULATED double _mm512_reduce_add_pd(__m512d a) { /* by halves, as compilers write it */
    return ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]));
}
EMULATED __m256 _mm512_cvtpd_ps(__m512d a) { return __builtin_convertvector(a, __m256); }
EMULATED __m512 _mm512_castps256_ps512(__m256 a) {
    const __m256i low = (__m256i)a;
    return (__m512)(__m512i){low[0], low[1], low[2], low[3]};
}
EMULATED __m512 _mm512_insertf32x8(__m512 a, __m256 b, int half) {
    EMULATED_EACH(8) a[8 * half + i] = b[i];
    return a;
}

/* ---- integers ---- */

#define EMULATED_INTS(lanes_, member, one_lane)                  \
    const union emulated_lanes x = {.si = a}, y = {.si = b};     \
    union emulated_lanes r;                                      \
    EMULATED_EACH(lanes_) r.member[i] = one_lane(x.member[i], y.member[i]); \
    return r.si
#define EMULATED_SUM(p, q) p + q
#define EMULATED_SUM_16(p, q) (uint16_t)(p + q)
#define EMULATED_LARGER(p, q) p > q ? p : q
#define EMULATED_PRODUCT_LOW(p, q) (p & 0xFFFFFFFFu) * (q & 0xFFFFFFFFu)

EMULATED __m512i _mm512_castps_si512(__m512 a) { return (__m512i)a; }
EMULATED __m512i _mm512_and_si512(__m512i a, __m512i b) { return a & b; }
EMULATED __m512i _mm512_andnot_si512(__m512i a, __m512i b) { return ~a & b; }
EMULATED __m512i _mm512_or_si512(__m512i a, __m512i b) { return a | b; }
EMULATED __m512i _mm512_xor_si512(__m512i a, __m512i b) { return a ^ b; }
EMULATED __m512i _mm512_add_epi32(__m512i a, __m512i b) { EMULATED_INTS(16, u32, EMULATED_SUM); }
EMULATED __m512i _mm512_add_epi16(__m512i a, __m512i b) { EMULATED_INTS(32, u16, EMULATED_SUM_16); }
EMULATED __m512i _mm512_max_epu16(__m512i a, __m512i b) { EMULATED_INTS(32, u16, EMULATED_LARGER); }
EMULATED __m512i _mm512_mul_epu32(__m512i a, __m512i b) { EMULATED_INTS(8, u64, EMULATED_PRODUCT_LOW); }
EMULATED __m512i _mm512_srli_epi32(__m512i a, int by) {
    union emulated_lanes r = {.si = a};
    EMULATED_EACH(16) r.u32[i] >>= by;
    return r.si;
}
EMULATED __m512i _mm512_srli_epi64(__m512i a, int by) {
    union emulated_lanes r = {.si = a};
    EMULATED_EACH(8) r.u64[i] >>= by;
    return r.si;
}
EMULATED __m512i _mm512_mask_mov_epi32(__m512i other, __mmask16 mask, __m512i a) {
    const union emulated_lanes from = {.si = a};
    union emulated_lanes r = {.si = other};
    EMULATED_EACH(16) if (mask >> i & 1) r.u32[i] = from.u32[i];
    return r.si;
}
EMULATED __m512i _mm512_mask_or_epi32(__m512i other, __mmask16 mask, __m512i a, __m512i b) {
    return _mm512_mask_mov_epi32(other, mask, a | b);
}
EMULATED __m512i _mm512_mask_mov_epi16(__m512i other, __mmask32 mask, __m512i a) {
    const union emulated_lanes from = {.si = a};
    union emulated_lanes r = {.si = other};
    EMULATED_EACH(32) if (mask >> i & 1) r.u16[i] = from.u16[i];
    return r.si;
}
EMULATED __m512i _mm512_mask_sub_epi16(__m512i other, __mmask32 mask, __m512i a, __m512i b) {
    union emulated_lanes x = {.si = a};
    const union emulated_lanes y = {.si = b};
    EMULATED_EACH(32) x.u16[i] = (uint16_t)(x.u16[i] - y.u16[i]);
    return _mm512_mask_mov_epi16(other, mask, x.si);
}
EMULATED __m512i _mm512_mask_shuffle_epi32(__m512i other, __mmask16 mask, __m512i a, int control) {
    const union emulated_lanes from = {.si = a};
    union emulated_lanes r;
    EMULATED_EACH(16) r.u32[i] = from.u32[i / 4 * 4 + (control >> i % 4 * 2 & 3)];
    return _mm512_mask_mov_epi32(other, mask, r.si);
}
EMULATED __m512i _mm512_permutex2var_epi16(__m512i a, __m512i index, __m512i b) {
    const union emulated_lanes at = {.si = index}, x = {.si = a}, y = {.si = b};
    union emulated_lanes r;
    EMULATED_EACH(32) r.u16[i] = (at.u16[i] & 32 ? &y : &x)->u16[at.u16[i] & 31];
    return r.si;
}
EMULATED __m512i _mm512_cvtepu8_epi32(__m128i a) {
    union emulated_lanes r;
    uint8_t from[16];
    memcpy(from, &a, sizeof from);
    EMULATED_EACH(16) r.u32[i] = from[i];
    return r.si;
}
EMULATED __m256i _mm512_cvtepi32_epi16(__m512i a) {
    const union emulated_lanes from = {.si = a};
    uint16_t halves[16];
    EMULATED_EACH(16) halves[i] = (uint16_t)from.u32[i];
    return _mm256_loadu_si256(halves);
}

#define EMULATED_MASK(lanes_, member, type, holds)            \
    const union emulated_lanes x = {.si = a}, y = {.si = b};  \
    uint32_t r = 0;                                           \
    EMULATED_EACH(lanes_) r |= (uint32_t)((type)x.member[i] holds (type)y.member[i]) << i; \
    return

EMULATED __mmask16 _mm512_mask_cmpge_epu32_mask(__mmask16 mask, __m512i a, __m512i b) {
    EMULATED_MASK(16, u32, uint32_t, >=) (__mmask16)(r & mask);
}
EMULATED __mmask32 _mm512_cmpgt_epi16_mask(__m512i a, __m512i b) { EMULATED_MASK(32, u16, int16_t, >) r; }
EMULATED __mmask32 _mm512_cmpgt_epu16_mask(__m512i a, __m512i b) { EMULATED_MASK(32, u16, uint16_t, >) r; }
EMULATED __mmask32 _mm512_movepi16_mask(__m512i b) {
    const __m512i a = {0};
    EMULATED_MASK(32, u16, int16_t, >) r; /* the sign bit: 0 > b */
}
EMULATED __mmask16 _mm_mask_cmpeq_epi8_mask(__mmask16 mask, __m128i a, __m128i b) {
    uint8_t x[16], y[16];
    __mmask16 r = 0;
    memcpy(x, &a, sizeof x), memcpy(y, &b, sizeof y);
    EMULATED_EACH(16) r = (__mmask16)(r | (x[i] == y[i]) << i);
    return r & mask;
}

/* ---- AVX512_BF16: denormal numbers count as zeros of their sign ---- */

EMULATED float emulated_flushed(float value) { return fabsf(value) < 0x1p-126f ? copysignf(0.0f, value) : value; }
EMULATED __m256i _mm512_cvtneps_pbh(__m512 a) {
    uint16_t halves[16];
    EMULATED_EACH(16) halves[i] = emulated_round(emulated_flushed(a[i]));
    return _mm256_loadu_si256(halves);
}
EMULATED float emulated_widened(uint16_t half) {
    const uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return emulated_flushed(value);
}
/* The odd products first, then the even ones, each added with one rounding. */
EMULATED __m512 _mm512_dpbf16_ps(__m512 sum, __m512bh a, __m512bh b) {
    EMULATED_EACH(16)
        for (int odd = 1; odd >= 0; odd--) {
            const float x = emulated_widened(a[2 * i + odd]), y = emulated_widened(b[2 * i + odd]);
            sum[i] = emulated_flushed(fmaf(x, y, emulated_flushed(sum[i])));
        }
    return sum;
}

#endif
