/* The loops behind the pixel kernels, in portable C in blocks of 16 elements that a compiler turns into vectors of
 * whatever width its flags allow: each instruction set's file compiles its own copy. Element-wise IEEE operations without
 * contraction make all copies agree to the bit.
 *
 * Logarithm: with m in [sqrt(1/2), sqrt(2)) and s = (m - 1) / (m + 1), log m = 2 (s + s^3/3 + ... + s^9/9), error below
 * 1e-9. Exponential: 2^f for |f| <= 1/2 by its Taylor series to degree 7, error below 1e-8. Sine and cosine on
 * [-pi/4, pi/4] by Taylor series to degrees 9 and 8, error below 4e-8. Normals: Box and Muller (1958). */
#ifndef SMRI_KERNELS_PIXELS_LOOPS_H
#define SMRI_KERNELS_PIXELS_LOOPS_H

#include <string.h>

#include "kernels/pixels.h"

#define LANES 16

static inline void loop_scale_u8(float *restrict out, const uint8_t *restrict in, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = (float)in[i] / 255.0f;
}

static inline void loop_normalise(float *restrict x, const float *restrict mean, const float *restrict std, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = (x[i] - mean[i]) / std[i];
}

static inline void loop_interpolate(float *restrict out, const float *restrict in, const int32_t *restrict first,
                                    const float *restrict weights, size_t taps, size_t step, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = weights[i] * in[first[i]];
    for (size_t t = 1; t < taps; t++)
        for (size_t i = 0; i < n; i++) out[i] += weights[t * n + i] * in[(size_t)first[i] + t * step];
}

static inline void loop_combine(float *restrict out, const float *const *rows, const float *weights, size_t taps, size_t n) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        float sum[LANES];
        for (size_t l = 0; l < LANES; l++) sum[l] = weights[0] * rows[0][i + l];
        for (size_t t = 1; t < taps; t++)
            for (size_t l = 0; l < LANES; l++) sum[l] += weights[t] * rows[t][i + l];
        for (size_t l = 0; l < LANES; l++) out[i + l] = sum[l];
    }
    for (; i < n; i++) {
        float sum = weights[0] * rows[0][i];
        for (size_t t = 1; t < taps; t++) sum += weights[t] * rows[t][i];
        out[i] = sum;
    }
}

static inline float clamp_between(float v, float low, float high) {
    const float above = v > low ? v : low;
    return above < high ? above : high;
}

static inline void loop_sample(float *restrict out, const struct smri_plane *plane, float x, float y, float dx, float dy,
                               size_t n) {
    const float *restrict pixels = plane->pixels;
    const float right = (float)plane->W - 1.0f, bottom = (float)plane->H - 1.0f;
    const int32_t stride = (int32_t)plane->stride;
    for (size_t i = 0; i < n; i++) {
        const float px = x + (float)(int32_t)i * dx, py = y + (float)(int32_t)i * dy;
        const float cx = clamp_between(px, 0.0f, right), cy = clamp_between(py, 0.0f, bottom);
        const int32_t ix = (int32_t)cx, iy = (int32_t)cy, at = iy * stride + ix;
        const float fx = cx - (float)ix, fy = cy - (float)iy;
        const float a = pixels[at], b = pixels[at + 1], c = pixels[at + stride], d = pixels[at + stride + 1];
        const float upper = a + fx * (b - a), lower = c + fx * (d - c);
        const float value = upper + fy * (lower - upper);
        const int inside = (px >= -0.5f) & (px < right + 0.5f) & (py >= -0.5f) & (py < bottom + 0.5f);
        out[i] = inside ? value : 0.0f;
    }
}

static inline void loop_adjust(float *x, size_t n, float gain, float offset) {
    for (size_t i = 0; i < n; i++) x[i] = clamp_between(x[i] * gain + offset, 0.0f, 1.0f);
}

static inline int32_t bits_of(float v) {
    int32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static inline float float_of(int32_t bits) {
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* log2 of a normal positive number: exponent and mantissa are split so that the mantissa lies about 1. */
static inline float log2_of(float v) {
    const int32_t bits = bits_of(v);
    const int32_t e = (bits - 0x3F3504F3) >> 23; /* 0x3F3504F3 is sqrt(1/2) */
    const float m = float_of(bits - (e << 23));
    const float s = (m - 1.0f) / (m + 1.0f), q = s * s;
    const float series = 1.0f + q * (1.0f / 3 + q * (1.0f / 5 + q * (1.0f / 7 + q * (1.0f / 9))));
    return (float)e + s * series * 2.885390081777927f; /* 2 / ln 2 */
}

/* 2^t for t in [-126, 0]. */
static inline float exp2_of(float t) {
    const int32_t n = (int32_t)(t - 0.5f);
    const float f = (t - (float)n) * 0.6931471805599453f;
    const float series =
        1.0f + f * (1.0f + f * (1.0f / 2 + f * (1.0f / 6 + f * (1.0f / 24 + f * (1.0f / 120 + f * (1.0f / 720 + f / 5040))))));
    return series * float_of((n + 127) << 23);
}

static inline void loop_power(float *x, size_t n, float exponent) {
    for (size_t i = 0; i < n; i++) {
        const float v = x[i] > 1e-30f ? x[i] : 1e-30f; /* normal; what is below becomes 0 */
        const float t = clamp_between(exponent * log2_of(v), -126.0f, 0.0f);
        const float power = exp2_of(t);
        x[i] = x[i] > 1e-30f ? power : 0.0f;
    }
}

static inline double loop_sum(const float *x, size_t n) {
    double lanes[LANES] = {0.0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++) lanes[l] += (double)x[i + l];
    for (size_t l = 0; i + l < n; l++) lanes[l] += (double)x[i + l];
    double sum = 0.0;
    for (size_t l = 0; l < LANES; l++) sum += lanes[l];
    return sum;
}

/* 16 blocks of Philox4x32-10 side by side: word[w][l] is word w of block first + l. smri_philox is the scalar original. */
static inline void philox_lanes(uint32_t word[4][LANES], const struct smri_rng *start, uint32_t first) {
    uint32_t k0 = start->key[0], k1 = start->key[1];
    for (size_t l = 0; l < LANES; l++) {
        word[0][l] = start->counter[0] + first + (uint32_t)l;
        word[1][l] = start->counter[1];
        word[2][l] = start->counter[2];
        word[3][l] = start->counter[3];
    }
    for (int round = 0; round < 10; round++) {
        for (size_t l = 0; l < LANES; l++) {
            const uint64_t p0 = (uint64_t)0xD2511F53u * word[0][l];
            const uint64_t p1 = (uint64_t)0xCD9E8D57u * word[2][l];
            word[0][l] = (uint32_t)(p1 >> 32) ^ word[1][l] ^ k0;
            word[1][l] = (uint32_t)p1;
            word[2][l] = (uint32_t)(p0 >> 32) ^ word[3][l] ^ k1;
            word[3][l] = (uint32_t)p0;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

/* Two standard normals from two words: radius sqrt(-2 ln u) with u in (0, 1], angle 2 pi v with v in [0, 1). */
static inline void normals_of(float *first, float *second, uint32_t word_u, uint32_t word_v) {
    const float u = (float)(int32_t)((word_u >> 8) + 1) * 0x1p-24f;
    const float radius = __builtin_sqrtf(-1.3862943611198906f * log2_of(u)); /* -2 ln 2 */
    const int32_t v = (int32_t)(word_v >> 8);
    const int32_t quadrant = (v + (1 << 21)) >> 22; /* the nearest quarter turn, 0 to 4 */
    const float a = (float)(v - (quadrant << 22)) * (6.283185307179586f * 0x1p-24f), q = a * a;
    const float sine = a * (1.0f - q * (1.0f / 6 - q * (1.0f / 120 - q * (1.0f / 5040 - q * (1.0f / 362880)))));
    const float cosine = 1.0f - q * (1.0f / 2 - q * (1.0f / 24 - q * (1.0f / 720 - q * (1.0f / 40320))));
    const int swap = quadrant & 1;
    const float c = swap ? sine : cosine, s = swap ? cosine : sine;
    *first = radius * (((quadrant + 1) & 2) ? -c : c);
    *second = radius * ((quadrant & 2) ? -s : s);
}

static inline void loop_add_noise(float *x, size_t n, float sd, const struct smri_rng *start) {
    uint32_t word[4][LANES];
    float z[4 * LANES];
    uint32_t first = 0;
    for (size_t i = 0; i < n; i += 4 * LANES, first += LANES) {
        philox_lanes(word, start, first);
        for (size_t l = 0; l < LANES; l++) {
            normals_of(&z[l], &z[LANES + l], word[0][l], word[1][l]);
            normals_of(&z[2 * LANES + l], &z[3 * LANES + l], word[2][l], word[3][l]);
        }
        const size_t count = n - i < 4 * LANES ? n - i : 4 * LANES;
        for (size_t j = 0; j < count; j++) x[i + j] += sd * z[j];
    }
}

static inline void fill_with_loops(struct smri_pixel_kernels *table) {
    table->scale_u8 = loop_scale_u8;
    table->normalise = loop_normalise;
    table->interpolate = loop_interpolate;
    table->combine = loop_combine;
    table->sample = loop_sample;
    table->adjust = loop_adjust;
    table->power = loop_power;
    table->sum = loop_sum;
    table->add_noise = loop_add_noise;
}

#endif
