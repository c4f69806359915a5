/* The loops behind the pixel kernels, written once with the vector types of GCC and Clang: each instruction set's file
 * compiles its own copy, with vectors as wide as its registers (wider ones are cut up by way of memory). Element-wise IEEE
 * operations without contraction make all copies agree to the bit, whatever the width.
 *
 * Logarithm: with m in [sqrt(1/2), sqrt(2)) and s = (m - 1) / (m + 1), log m = 2 (s + s^3/3 + ... + s^9/9), error below
 * 1e-9. Exponential: 2^f for |f| <= 1/2 by its Taylor series to degree 7, error below 1e-8. Sine and cosine on
 * [-pi/4, pi/4] by Taylor series to degrees 9 and 8, error below 4e-8. Normals: Box and Muller (1958). */
#pragma once

#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "kernels/pixels/pixels.h"

/* Vectors are passed between static functions of one file only: no calling convention is at stake. */
#pragma GCC diagnostic ignored "-Wpsabi"

#if defined(__AVX512F__)
#define SMRI_LANES 16
#elif defined(__AVX2__)
#define SMRI_LANES 8
#else
#define SMRI_LANES 4
#endif
typedef float floats __attribute__((vector_size(4 * SMRI_LANES)));
typedef int32_t ints __attribute__((vector_size(4 * SMRI_LANES)));
typedef uint32_t words __attribute__((vector_size(4 * SMRI_LANES)));

static inline floats load(const float *p) {
    floats v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline floats load_some(const float *p, size_t n) {
    floats v = {0};
    memcpy(&v, p, n * sizeof *p);
    return v;
}

static inline void store(float *p, floats v) { memcpy(p, &v, sizeof v); }
static inline void store_some(float *p, floats v, size_t n) { memcpy(p, &v, n * sizeof *p); }

/* a where the mask is all ones, b where it is zero. */
static inline floats choose(ints mask, floats a, floats b) { return (floats)(((ints)a & mask) | ((ints)b & ~mask)); }
static inline floats at_least(floats v, float low) { return choose(v > low, v, low - (floats){0}); }
static inline floats at_most(floats v, float high) { return choose(v < high, v, high - (floats){0}); }

static inline void scale_u8(float *restrict out, const uint8_t *restrict in, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = (float)in[i] / 255.0f;
}

static inline void normalise(float *restrict x, const float *restrict mean, const float *restrict std, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = (x[i] - mean[i]) / std[i];
}

/* 0, 1, 2 ... */
static inline ints lane_numbers(void) {
    static const int32_t numbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    ints v;
    memcpy(&v, numbers, sizeof v);
    return v;
}

/* v[l] = in[at[l]]. By instruction where there is one: compilers tuned for no CPU in particular take the elements out of the
 * index vector and load them one by one, at twice the time of the whole sampling (Xeon of the Sapphire Rapids family). */
static inline floats gather(const float *in, ints at) {
    floats v;
#if defined(__AVX512F__)
    v = (floats)_mm512_i32gather_ps((__m512i)at, in, 4);
#elif defined(__AVX2__)
    v = (floats)_mm256_i32gather_ps(in, (__m256i)at, 4);
#else
    for (size_t l = 0; l < SMRI_LANES; l++) v[l] = in[at[l]];
#endif
    return v;
}

static inline void interpolate(float *restrict out, const float *restrict in, const int32_t *restrict first,
                                    const float *restrict weights, size_t taps, size_t step, size_t n) {
    size_t i = 0;
    for (; i + SMRI_LANES <= n; i += SMRI_LANES) {
        ints at;
        memcpy(&at, first + i, sizeof at);
        floats sum = load(weights + i) * gather(in, at);
        for (size_t t = 1; t < taps; t++) sum += load(weights + t * n + i) * gather(in + t * step, at);
        store(out + i, sum);
    }
    for (; i < n; i++) {
        float sum = weights[i] * in[first[i]];
        for (size_t t = 1; t < taps; t++) sum += weights[t * n + i] * in[(size_t)first[i] + t * step];
        out[i] = sum;
    }
}

static inline void combine(float *restrict out, const float *const *rows, const float *weights, size_t taps, size_t n) {
    size_t i = 0;
    for (; i + SMRI_LANES <= n; i += SMRI_LANES) {
        floats sum = weights[0] * load(rows[0] + i);
        for (size_t t = 1; t < taps; t++) sum += weights[t] * load(rows[t] + i);
        store(out + i, sum);
    }
    for (; i < n; i++) {
        float sum = weights[0] * rows[0][i];
        for (size_t t = 1; t < taps; t++) sum += weights[t] * rows[t][i];
        out[i] = sum;
    }
}

/* Points i .. i + SMRI_LANES - 1 of a line. */
static inline floats sample_lanes(const struct smri_plane *plane, float x, float y, float dx, float dy, int32_t i) {
    const float right = (float)plane->W - 1.0f, bottom = (float)plane->H - 1.0f;
    const int32_t stride = (int32_t)plane->stride;
    const floats number = __builtin_convertvector(lane_numbers() + i, floats);
    const floats px = x + number * dx, py = y + number * dy;
    const floats cx = at_most(at_least(px, 0.0f), right), cy = at_most(at_least(py, 0.0f), bottom);
    const ints inside = (px >= -0.5f) & (px < right + 0.5f) & (py >= -0.5f) & (py < bottom + 0.5f);
    const ints ix = __builtin_convertvector(cx, ints), iy = __builtin_convertvector(cy, ints), at = iy * stride + ix;
    const floats fx = cx - __builtin_convertvector(ix, floats), fy = cy - __builtin_convertvector(iy, floats);
    const floats a = gather(plane->pixels, at), b = gather(plane->pixels + 1, at);
    const floats c = gather(plane->pixels + stride, at), d = gather(plane->pixels + stride + 1, at);
    const floats upper = a + fx * (b - a), lower = c + fx * (d - c), value = upper + fy * (lower - upper);
    return (floats)((ints)value & inside);
}

static inline void sample(float *restrict out, const struct smri_plane *plane, float x, float y, float dx, float dy,
                               size_t n) {
    size_t i = 0;
    for (; i + SMRI_LANES <= n; i += SMRI_LANES) store(out + i, sample_lanes(plane, x, y, dx, dy, (int32_t)i));
    /* Points past the end are clamped like any other, and dropped. */
    if (i < n) store_some(out + i, sample_lanes(plane, x, y, dx, dy, (int32_t)i), n - i);
}

static inline floats adjust_lanes(floats v, float gain, float offset) {
    return at_most(at_least(v * gain + offset, 0.0f), 1.0f);
}

static inline void adjust(float *x, size_t n, float gain, float offset) {
    size_t i = 0;
    for (; i + SMRI_LANES <= n; i += SMRI_LANES) store(x + i, adjust_lanes(load(x + i), gain, offset));
    if (i < n) store_some(x + i, adjust_lanes(load_some(x + i, n - i), gain, offset), n - i);
}

/* log2 of normal positive numbers: exponent and mantissa are split so that the mantissa lies about 1. */
static inline floats log2_of(floats v) {
    const ints e = ((ints)v - 0x3F3504F3) >> 23; /* 0x3F3504F3 is sqrt(1/2) */
    const floats m = (floats)((ints)v - (e << 23));
    const floats s = (m - 1.0f) / (m + 1.0f), q = s * s;
    const floats series = 1.0f + q * (1.0f / 3 + q * (1.0f / 5 + q * (1.0f / 7 + q * (1.0f / 9))));
    return __builtin_convertvector(e, floats) + s * series * 2.885390081777927f; /* 2 / ln 2 */
}

/* 2^t for t in [-126, 0]. */
static inline floats exp2_of(floats t) {
    const ints n = __builtin_convertvector(t - 0.5f, ints);
    const floats f = (t - __builtin_convertvector(n, floats)) * 0.6931471805599453f;
    const floats high = 1.0f / 24 + f * (1.0f / 120 + f * (1.0f / 720 + f * (1.0f / 5040)));
    const floats series = 1.0f + f * (1.0f + f * (1.0f / 2 + f * (1.0f / 6 + f * high)));
    return series * (floats)((n + 127) << 23);
}

static inline floats power_lanes(floats v, float exponent) {
    const float tiny = 0x1p-100f; /* the logarithm needs a normal number; what is not above this becomes 0 */
    const floats t = at_least(exponent * log2_of(at_least(v, tiny)), -126.0f);
    return (floats)((ints)exp2_of(t) & (v > tiny));
}

static inline void power(float *x, size_t n, float exponent) {
    size_t i = 0;
    for (; i + SMRI_LANES <= n; i += SMRI_LANES) store(x + i, power_lanes(load(x + i), exponent));
    if (i < n) store_some(x + i, power_lanes(load_some(x + i, n - i), exponent), n - i);
}

static inline double sum(const float *x, size_t n) {
    double lanes[16] = {0.0};
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (size_t l = 0; l < 16; l++) lanes[l] += (double)x[i + l];
    for (size_t l = 0; i + l < n; l++) lanes[l] += (double)x[i + l];
    double sum = 0.0;
    for (size_t l = 0; l < 16; l++) sum += lanes[l];
    return sum;
}

static inline words high_half(words a, uint32_t b) {
    words high;
    for (size_t l = 0; l < SMRI_LANES; l++) high[l] = (uint32_t)(((uint64_t)a[l] * b) >> 32);
    return high;
}

/* SMRI_LANES blocks of Philox4x32-10 side by side: lane l of word[w] is word w of block first + l. smri_philox is the
 * original. */
static inline void philox_lanes(words word[4], const struct smri_rng *start, uint32_t first) {
    const words zero = {0};
    uint32_t k0 = start->key[0], k1 = start->key[1];
    words c0 = (words)lane_numbers() + (start->counter[0] + first), c1 = zero + start->counter[1];
    words c2 = zero + start->counter[2], c3 = zero + start->counter[3];
    for (int round = 0; round < 10; round++) {
        const words high0 = high_half(c0, 0xD2511F53u), high2 = high_half(c2, 0xCD9E8D57u);
        const words low0 = c0 * 0xD2511F53u, low2 = c2 * 0xCD9E8D57u;
        c0 = high2 ^ c1 ^ k0;
        c1 = low2;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    word[0] = c0;
    word[1] = c1;
    word[2] = c2;
    word[3] = c3;
}

static inline floats square_root(floats v) {
    floats root;
    for (size_t l = 0; l < SMRI_LANES; l++) root[l] = __builtin_sqrtf(v[l]);
    return root;
}

/* Two standard normals from two words: radius sqrt(-2 ln u) with u in (0, 1], angle 2 pi v with v in [0, 1). */
static inline void normals_of(floats *first, floats *second, words word_u, words word_v) {
    const floats u = __builtin_convertvector((ints)(word_u >> 8) + 1, floats) * 0x1p-24f;
    const floats radius = square_root(-1.3862943611198906f * log2_of(u)); /* -2 ln 2 */
    const ints v = (ints)(word_v >> 8);
    const ints quadrant = (v + (1 << 21)) >> 22; /* the nearest quarter turn, 0 to 4 */
    const floats a = __builtin_convertvector(v - (quadrant << 22), floats) * (6.283185307179586f * 0x1p-24f), q = a * a;
    const floats sine = a * (1.0f - q * (1.0f / 6 - q * (1.0f / 120 - q * (1.0f / 5040 - q * (1.0f / 362880)))));
    const floats cosine = 1.0f - q * (1.0f / 2 - q * (1.0f / 24 - q * (1.0f / 720 - q * (1.0f / 40320))));
    const ints odd = -(quadrant & 1);
    const ints cosine_sign = ((quadrant + 1) & 2) << 30, sine_sign = (quadrant & 2) << 30;
    *first = radius * (floats)((ints)choose(odd, sine, cosine) ^ cosine_sign);
    *second = radius * (floats)((ints)choose(odd, cosine, sine) ^ sine_sign);
}

/* Blocks come in groups of 16 whatever the width, as the order of elements in pixels.h is stated. */
static inline void add_noise(float *x, size_t n, float sd, const struct smri_rng *start) {
    for (size_t block = 0, i = 0; i < n; block += SMRI_LANES, i = 4 * (block & ~(size_t)15) + (block & 15)) {
        words word[4];
        floats z[4];
        philox_lanes(word, start, (uint32_t)block);
        normals_of(&z[0], &z[1], word[0], word[1]);
        normals_of(&z[2], &z[3], word[2], word[3]);
        for (size_t k = 0, at = i; k < 4 && at < n; k++, at += 16) {
            const size_t count = n - at < SMRI_LANES ? n - at : SMRI_LANES;
            if (count == SMRI_LANES) store(x + at, load(x + at) + sd * z[k]);
            else store_some(x + at, load_some(x + at, count) + sd * z[k], count);
        }
    }
}

void SMRI_FILLER(smri_pixel_kernels)(struct smri_pixel_kernels *table) {
    *table = (struct smri_pixel_kernels){scale_u8, normalise, interpolate, combine, sample, adjust, power, sum, add_noise};
}
