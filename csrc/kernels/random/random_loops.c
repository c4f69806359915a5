/* Normal numbers of 16 Philox blocks at once. Every loop has one simple body for all blocks, so that the compiler makes
 * vectors of it.
 *
 * The bits are those of smri_rng_normal, sqrt(-2 log u) cos(2 pi v) by the C library's functions, whose errors are about an ulp
 * of a double. Those here err by a few. Rounding to float hides the difference unless the middle between two floats lies
 * in between. Numbers that are within 1024 ulp of one, a group of 32 in 8,000, are computed by smri_rng_normal. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernels/lanes.h"
#include "kernels/philox.h"
#include "kernels/random/random.h"

enum { BLOCKS = SMRI_PHILOX_BLOCKS, NUMBERS = 2 * BLOCKS, TOLERANCE = 1024 }; /* a block is four words, and a number takes two */

/* A word as a double: its bits below those of 2^52. */
static inline double double_of(uint64_t word) {
    const uint64_t bits = word | 0x4330000000000000u;
    double out;
    memcpy(&out, &bits, sizeof out);
    return out - 0x1p52;
}

/* log(2^-32 x) of 1 <= x <= 2^32. With x = 2^k m and m from sqrt(1/2) to sqrt(2) it is (k - 32) ln 2 + 2 artanh(s) of
 * s = (m - 1) / (m + 1), |s| < 0.172: the first term left out of the series is below 2^-59 of it. */
static inline double log_lane(double x) {
    const uint64_t lowest = 0x3FE6A09E667F3BCDu; /* sqrt(1/2) */
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits += 0x3FF0000000000000u - lowest;
    const double k = double_of(bits >> 52) - (1023.0 + 32.0);
    bits = (bits & 0x000FFFFFFFFFFFFFu) + lowest;
    double m;
    memcpy(&m, &bits, sizeof m);
    const double s = (m - 1.0) / (m + 1.0), z = s * s;
    double series = 2.0 / 21.0;
    series = fma(series, z, 2.0 / 19.0);
    series = fma(series, z, 2.0 / 17.0);
    series = fma(series, z, 2.0 / 15.0);
    series = fma(series, z, 2.0 / 13.0);
    series = fma(series, z, 2.0 / 11.0);
    series = fma(series, z, 2.0 / 9.0);
    series = fma(series, z, 2.0 / 7.0);
    series = fma(series, z, 2.0 / 5.0);
    series = fma(series, z, 2.0 / 3.0);
    series = fma(series, z, 2.0);
    return k * 0x1.62e42fefa39efp-1 + s * series;
}

/* cos(x) of 0 <= x <= 2 pi. With x = n pi / 2 + y, |y| <= pi / 4, it is cos y, -sin y, -cos y or sin y by n modulo 4, from
 * their series: the first terms left out are below 2^-58. */
static inline double cos_lane(double x) {
    const double rounding = 0x1.8p52; /* adding it leaves n in the last bits */
    const double shifted = x * 0.6366197723675814 + rounding, n = shifted - rounding;
    /* pi / 2 in two pieces: n times the first has no rounding error, and the second is exact to 2^-86. */
    const double y = (x - n * 0x1.921fb544p+0) - n * 0x1.0b4611a626331p-34, z = y * y;
    double cosine = -1.0 / 6402373705728000.0; /* 18! */
    cosine = fma(cosine, z, 1.0 / 20922789888000.0);
    cosine = fma(cosine, z, -1.0 / 87178291200.0);
    cosine = fma(cosine, z, 1.0 / 479001600.0);
    cosine = fma(cosine, z, -1.0 / 3628800.0);
    cosine = fma(cosine, z, 1.0 / 40320.0);
    cosine = fma(cosine, z, -1.0 / 720.0);
    cosine = fma(cosine, z, 1.0 / 24.0);
    cosine = fma(cosine, z, -1.0 / 2.0);
    cosine = fma(cosine, z, 1.0);
    double sine = 1.0 / 355687428096000.0; /* 17! */
    sine = fma(sine, z, -1.0 / 1307674368000.0);
    sine = fma(sine, z, 1.0 / 6227020800.0);
    sine = fma(sine, z, -1.0 / 39916800.0);
    sine = fma(sine, z, 1.0 / 362880.0);
    sine = fma(sine, z, -1.0 / 5040.0);
    sine = fma(sine, z, 1.0 / 120.0);
    sine = fma(sine, z, -1.0 / 6.0);
    sine = fma(sine, z, 1.0) * y;
    uint64_t quadrant, of_cosine, of_sine;
    memcpy(&quadrant, &shifted, sizeof quadrant);
    memcpy(&of_cosine, &cosine, sizeof of_cosine);
    memcpy(&of_sine, &sine, sizeof of_sine);
    const uint64_t use_sine = 0 - (quadrant & 1), sign = ((quadrant + 1) & 2) << 62;
    const uint64_t bits = ((of_sine & use_sine) | (of_cosine & ~use_sine)) ^ sign;
    double out;
    memcpy(&out, &bits, sizeof out);
    return out;
}

/* 1 if a number within TOLERANCE ulp of x might be rounded to another float, or if the cosine lies so near to 0 that its
 * relative error is larger (only 0.25 and 0.75 turns do); else 0. */
static inline uint64_t is_in_doubt(double x, double cosine) {
    uint64_t bits, of_cosine;
    memcpy(&bits, &x, sizeof bits);
    memcpy(&of_cosine, &cosine, sizeof of_cosine);
    const uint64_t from_middle = (bits + 0x10000000u + TOLERANCE) & 0x1FFFFFFFu; /* of two floats, which are 2^29 apart */
    const uint64_t exponent = bits >> 52 & 0x7FF, of_cosines = of_cosine >> 52 & 0x7FF;
    return ((from_middle - 2 * TOLERANCE) | (exponent - (1023 - 100)) | (of_cosines - (1023 - 31))) >> 63; /* negative */
}

/* A number from each pair of words; not 0 if one of them is in doubt. */
static uint64_t normals_of(float *out, const uint32_t *first, const uint32_t *second) {
    uint64_t in_doubt = 0;
    for (int b = 0; b < BLOCKS; b++) {
        const double cosine = cos_lane(6.283185307179586 * (double_of(second[b]) * 0x1p-32));
        const double x = sqrt(-2.0 * log_lane(double_of(first[b]) + 1.0)) * cosine;
        out[b] = (float)x;
        in_doubt |= is_in_doubt(x, cosine);
    }
    return in_doubt;
}

static void normals(float *out, size_t n, struct smri_rng *rng) {
    size_t i = 0;
    for (; i < n && rng->used != 4; i++) out[i] = smri_rng_normal(rng);
    for (; i + NUMBERS <= n; i += NUMBERS) {
        uint32_t words[4][BLOCKS];
        float even[BLOCKS], odd[BLOCKS];
        philox_blocks(words, rng, 0);
        if ((normals_of(even, words[0], words[1]) | normals_of(odd, words[2], words[3])) != 0) {
            for (int j = 0; j < NUMBERS; j++) out[i + (size_t)j] = smri_rng_normal(rng);
            continue;
        }
        for (int b = 0; b < BLOCKS; b++) out[i + 2 * (size_t)b] = even[b], out[i + 2 * (size_t)b + 1] = odd[b];
        rng->counter[0] += BLOCKS;
    }
    for (; i < n; i++) out[i] = smri_rng_normal(rng);
}

SMRI_INLINE void keep_lanes(float *y, const float *x, const uint32_t *words, uint32_t threshold, float factor, size_t i,
                            size_t n) {
    uints word;
    memcpy(&word, words + i, sizeof word);
    const floats scaled = factor * vload(x, i, n, SMRI_FP32);
    vstore(y, i, (floats)((uints)scaled & (uints)(word >= threshold)), n, SMRI_FP32);
}

static void keep(float *y, const float *x, size_t n, struct smri_rng *rng, uint32_t threshold, float factor) {
    for (size_t i = 0; i < n; i += 4 * BLOCKS) {
        uint32_t words[4][BLOCKS], in_order[4 * BLOCKS];
        philox_blocks(words, rng, (uint32_t)(i / 4));
        for (size_t k = 0; k < 4 * BLOCKS; k++) in_order[k] = words[k % 4][k / 4];
        const size_t count = n - i < 4 * BLOCKS ? n - i : 4 * BLOCKS;
        SMRI_FOR_VECTORS(count, keep_lanes, y + i, x + i, in_order, threshold, factor);
    }
}

void SMRI_FILLER(smri_random_kernels)(struct smri_random_kernels *table) {
    *table = (struct smri_random_kernels){normals, keep};
}
