/* The loops behind the pixel kernels, for vectors of any width (lanes.h). Element-wise IEEE operations without contraction
 * make the copies of all instruction sets agree to the bit.
 *
 * Logarithm: with m in [sqrt(1/2), sqrt(2)) and s = (m - 1) / (m + 1), log m = 2 (s + s^3/3 + ... + s^9/9), error below
 * 1e-9. Exponential: 2^f for |f| <= 1/2 by its Taylor series to degree 7, error below 1e-8. Sine and cosine on
 * [-pi/4, pi/4] by Taylor series to degrees 9 and 8, error below 4e-8. Normals: Box and Muller (1958). */
#define SMRI_SINGLE_REGISTERS
#include "kernels/lanes.h"
#include "kernels/philox.h"
#include "kernels/pixels/pixels.h"

SMRI_INLINE floats get(const float *p, size_t i, size_t n) { return vload(p, i, n, SMRI_FP32); }
SMRI_INLINE void put(float *p, size_t i, floats v, size_t n) { vstore(p, i, v, n, SMRI_FP32); }

static void scale_u8(float *restrict out, const uint8_t *restrict in, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = (float)in[i] / 255.0f;
}

static void normalise(float *restrict x, const float *restrict mean, const float *restrict std, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = (x[i] - mean[i]) / std[i];
}

/* v[l] = in[at[l]]. By instruction where there is one: compilers tuned for no CPU in particular take the elements out of the
 * index vector and load them one by one, at twice the time of the whole sampling (Xeon of the Sapphire Rapids family). */
SMRI_INLINE floats gather(const float *in, ints at) {
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

SMRI_INLINE void interpolate_lanes(float *restrict out, const float *restrict in, const int32_t *restrict first,
                                   const float *restrict weights, size_t taps, size_t step, size_t row, size_t i,
                                   size_t n) {
    ints at = {0}; /* lanes past the end read from the row's first pixel on, and are dropped */
    memcpy(&at, first + i, n * sizeof *first);
    floats sum = get(weights, i, n) * gather(in, at);
    for (size_t t = 1; t < taps; t++) sum += get(weights, t * row + i, n) * gather(in + t * step, at);
    put(out, i, sum, n);
}

static void interpolate(float *restrict out, const float *restrict in, const int32_t *restrict first,
                        const float *restrict weights, size_t taps, size_t step, size_t n) {
    SMRI_FOR_VECTORS(n, interpolate_lanes, out, in, first, weights, taps, step, n);
}

SMRI_INLINE void combine_lanes(float *restrict out, const float *const *rows, const float *weights, size_t taps,
                               size_t i, size_t n) {
    floats sum = weights[0] * get(rows[0], i, n);
    for (size_t t = 1; t < taps; t++) sum += weights[t] * get(rows[t], i, n);
    put(out, i, sum, n);
}

static void combine(float *restrict out, const float *const *rows, const float *weights, size_t taps, size_t n) {
    SMRI_FOR_VECTORS(n, combine_lanes, out, rows, weights, taps);
}

/* Points past the end of the line are clamped like any other, and dropped. */
SMRI_INLINE void sample_lanes(float *restrict out, const struct smri_plane *plane, float x, float y, float dx, float dy,
                              size_t i, size_t n) {
    const float right = (float)plane->W - 1.0f, bottom = (float)plane->H - 1.0f;
    const int32_t stride = (int32_t)plane->stride;
    const floats number = __builtin_convertvector(vnumbers() + (int32_t)i, floats), zero = {0};
    const floats px = x + number * dx, py = y + number * dy;
    const floats cx = vmin(vmax(px, zero), vset1(right)), cy = vmin(vmax(py, zero), vset1(bottom));
    const ints inside = (px >= -0.5f) & (px < right + 0.5f) & (py >= -0.5f) & (py < bottom + 0.5f);
    const ints ix = __builtin_convertvector(cx, ints), iy = __builtin_convertvector(cy, ints), at = iy * stride + ix;
    const floats fx = cx - __builtin_convertvector(ix, floats), fy = cy - __builtin_convertvector(iy, floats);
    const floats a = gather(plane->pixels, at), b = gather(plane->pixels + 1, at);
    const floats c = gather(plane->pixels + stride, at), d = gather(plane->pixels + stride + 1, at);
    const floats upper = a + fx * (b - a), lower = c + fx * (d - c), value = upper + fy * (lower - upper);
    put(out, i, (floats)((ints)value & inside), n);
}

static void sample(float *restrict out, const struct smri_plane *plane, float x, float y, float dx, float dy,
                   size_t n) {
    SMRI_FOR_VECTORS(n, sample_lanes, out, plane, x, y, dx, dy);
}

SMRI_INLINE void adjust_lanes(float *x, float gain, float offset, size_t i, size_t n) {
    put(x, i, vmin(vmax(get(x, i, n) * gain + offset, (floats){0}), vset1(1.0f)), n);
}

static void adjust(float *x, size_t n, float gain, float offset) { SMRI_FOR_VECTORS(n, adjust_lanes, x, gain, offset); }

/* log2 of normal positive numbers: exponent and mantissa are split so that the mantissa lies about 1. */
SMRI_INLINE floats log2_of(floats v) {
    const ints e = ((ints)v - 0x3F3504F3) >> 23; /* 0x3F3504F3 is sqrt(1/2) */
    const floats m = (floats)((ints)v - (e << 23));
    const floats s = (m - 1.0f) / (m + 1.0f), q = s * s;
    const floats series = 1.0f + q * (1.0f / 3 + q * (1.0f / 5 + q * (1.0f / 7 + q * (1.0f / 9))));
    return __builtin_convertvector(e, floats) + s * series * 2.885390081777927f; /* 2 / ln 2 */
}

/* 2^t for t in [-126, 0]. */
SMRI_INLINE floats exp2_of(floats t) {
    const ints n = __builtin_convertvector(t - 0.5f, ints);
    const floats f = (t - __builtin_convertvector(n, floats)) * 0.6931471805599453f;
    const floats high = 1.0f / 24 + f * (1.0f / 120 + f * (1.0f / 720 + f * (1.0f / 5040)));
    const floats series = 1.0f + f * (1.0f + f * (1.0f / 2 + f * (1.0f / 6 + f * high)));
    return series * (floats)((n + 127) << 23);
}

SMRI_INLINE void power_lanes(float *x, float exponent, size_t i, size_t n) {
    const floats v = get(x, i, n);
    const floats tiny = vset1(0x1p-100f); /* the logarithm needs a normal number; what is not above this becomes 0 */
    const floats t = vmax(exponent * log2_of(vmax(v, tiny)), vset1(-126.0f));
    put(x, i, (floats)((ints)exp2_of(t) & (v > tiny)), n);
}

static void power(float *x, size_t n, float exponent) { SMRI_FOR_VECTORS(n, power_lanes, x, exponent); }

static double sum(const float *x, size_t n) {
    double lanes[16] = {0.0};
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (size_t l = 0; l < 16; l++) lanes[l] += (double)x[i + l];
    for (size_t l = 0; i + l < n; l++) lanes[l] += (double)x[i + l];
    double sum = 0.0;
    for (size_t l = 0; l < 16; l++) sum += lanes[l];
    return sum;
}

SMRI_INLINE floats square_root(floats v) {
    floats root;
    for (size_t l = 0; l < SMRI_LANES; l++) root[l] = __builtin_sqrtf(v[l]);
    return root;
}

/* Two standard normals from two words: radius sqrt(-2 ln u) with u in (0, 1], angle 2 pi v with v in [0, 1). */
SMRI_INLINE void normals_of(floats *first, floats *second, uints word_u, uints word_v) {
    const floats u = __builtin_convertvector((ints)(word_u >> 8) + 1, floats) * 0x1p-24f;
    const floats radius = square_root(-1.3862943611198906f * log2_of(u)); /* -2 ln 2 */
    const ints v = (ints)(word_v >> 8);
    const ints quadrant = (v + (1 << 21)) >> 22; /* the nearest quarter turn, 0 to 4 */
    const floats a = __builtin_convertvector(v - (quadrant << 22), floats) * (6.283185307179586f * 0x1p-24f), q = a * a;
    const floats sine = a * (1.0f - q * (1.0f / 6 - q * (1.0f / 120 - q * (1.0f / 5040 - q * (1.0f / 362880)))));
    const floats cosine = 1.0f - q * (1.0f / 2 - q * (1.0f / 24 - q * (1.0f / 720 - q * (1.0f / 40320))));
    const ints odd = -(quadrant & 1);
    const ints cosine_sign = ((quadrant + 1) & 2) << 30, sine_sign = (quadrant & 2) << 30;
    *first = radius * (floats)((ints)vselect((uints)odd, sine, cosine) ^ cosine_sign);
    *second = radius * (floats)((ints)vselect((uints)odd, cosine, sine) ^ sine_sign);
}

/* Blocks come in groups of 16, as the order of elements in pixels.h is stated. */
static void add_noise(float *x, size_t n, float sd, const struct smri_rng *start) {
    for (size_t i = 0; i < n; i += 4 * SMRI_PHILOX_BLOCKS) {
        uint32_t words[4][SMRI_PHILOX_BLOCKS];
        philox_blocks(words, start, (uint32_t)(i / 4));
        for (size_t b = 0; b < SMRI_PHILOX_BLOCKS; b += SMRI_LANES) {
            uints word[4];
            floats z[4];
            for (size_t k = 0; k < 4; k++) memcpy(&word[k], words[k] + b, sizeof word[k]);
            normals_of(&z[0], &z[1], word[0], word[1]);
            normals_of(&z[2], &z[3], word[2], word[3]);
            for (size_t k = 0, at = i + b; k < 4 && at < n; k++, at += SMRI_PHILOX_BLOCKS) {
                const size_t count = n - at < SMRI_LANES ? n - at : SMRI_LANES;
                put(x, at, get(x, at, count) + sd * z[k], count);
            }
        }
    }
}

void SMRI_FILLER(smri_pixel_kernels)(struct smri_pixel_kernels *table) {
    *table = (struct smri_pixel_kernels){scale_u8, normalise, interpolate, combine, sample, adjust, power, sum, add_noise};
}
