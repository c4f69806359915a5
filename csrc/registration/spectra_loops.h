/* The loops of spectra.h, with the vector types of GCC and Clang: each instruction set's file compiles its own copy.
 *
 * Nearly all time goes into products of small matrices that lie in the first-level cache: out = a b by tiles of 4 rows and two
 * vectors of columns, each number summed over k in order. Half of each line of a picture is folded onto the other
 * beforehand, since cosines about the middle are even there and sines odd. */
#pragma once

#include <math.h>
#include <string.h>

#include "kernels/family.h"
#include "registration/spectra.h"

#pragma GCC diagnostic ignored "-Wpsabi" /* vectors are passed between static functions of one file only */

#if defined(__AVX2__)
#define LANES ((size_t)8)
#else
#define LANES ((size_t)4)
#endif
#define INLINE static inline __attribute__((always_inline))
typedef float floats __attribute__((vector_size(4 * LANES)));

INLINE floats load(const float *p) {
    floats v;
    memcpy(&v, p, sizeof v);
    return v;
}
INLINE void store(float *p, floats v) { memcpy(p, &v, sizeof v); }

/* A matrix: element (i, k) at p[i * row + k * column]. */
struct matrix {
    const float *p;
    size_t row, column;
};

INLINE void tile(float *out, size_t row, struct matrix a, const float *b, size_t b_row, size_t K, size_t rows, size_t vectors) {
    floats sum[4][2] = {{{0}}};
    for (size_t k = 0; k < K; k++)
        for (size_t i = 0; i < rows; i++)
            for (size_t v = 0; v < vectors; v++) sum[i][v] += a.p[i * a.row + k * a.column] * load(b + k * b_row + v * LANES);
    for (size_t i = 0; i < rows; i++)
        for (size_t v = 0; v < vectors; v++) store(out + i * row + v * LANES, sum[i][v]);
}

/* out[M][N] = a[M][K] b[K][N], rows of out and b `row` and `b_row` apart; N is a multiple of LANES. */
static void product(float *out, size_t row, struct matrix a, const float *b, size_t b_row, size_t M, size_t K, size_t N) {
    for (size_t i = 0; i < M; i += M - i < 4 ? 1 : 4) {
        const struct matrix some = {a.p + i * a.row, a.row, a.column};
        float *to = out + i * row;
        for (size_t j = 0; j < N; j += N - j < 2 * LANES ? LANES : 2 * LANES) {
            if (M - i < 4) tile(to + j, row, some, b + j, b_row, K, 1, 1);
            if (M - i < 4 && N - j >= 2 * LANES) tile(to + j + LANES, row, some, b + j + LANES, b_row, K, 1, 1);
            if (M - i >= 4 && N - j >= 2 * LANES) tile(to + j, row, some, b + j, b_row, K, 4, 2);
            else if (M - i >= 4) tile(to + j, row, some, b + j, b_row, K, 4, 1);
        }
    }
}

/* ---- local contrast ---- */

/* out = m in m', with m' given. */
static void blur(float *out, const float *in, const float *m_t, size_t S) {
    float half[SMRI_PICTURE_PX * SMRI_PICTURE_PX];
    product(half, S, (struct matrix){m_t, 1, S}, in, S, S, S, S);
    product(out, S, (struct matrix){half, S, 1}, m_t, S, S, S, S);
}

void SMRI_FILLER(smri_local_contrast)(float *out, const float *gray, const float *fine_t, const float *coarse_t, float floor,
                                      size_t N, size_t S) {
    float low[SMRI_PICTURE_PX * SMRI_PICTURE_PX], square[SMRI_PICTURE_PX * SMRI_PICTURE_PX];
    const size_t n = S * S;
    for (size_t p = 0; p < N; p++, out += n, gray += n) {
        blur(out, gray, fine_t, S);
        blur(low, gray, coarse_t, S);
        for (size_t i = 0; i < n; i++) out[i] -= low[i];
        for (size_t i = 0; i < n; i++) square[i] = out[i] * out[i];
        blur(low, square, coarse_t, S);
        for (size_t i = 0; i < n; i++) out[i] /= sqrtf(low[i]) + floor;
    }
}

/* ---- spectra ---- */

INLINE float magnitude(float real, float imaginary) { return sqrtf(real * real + imaginary * imaginary); }

enum { LINES = SMRI_PICTURE_PX, HALF = SMRI_PICTURE_PX / 2 };

/* power[2][W][W] of the square that the cut shows, rows of the picture being S apart. */
static void magnitudes(float *restrict power, const float *picture, const struct smri_cut *cut, size_t S) {
    const size_t m = cut->size, half = m / 2, W = cut->n_waves;
    float even[LINES * HALF], odd[LINES * HALF], across[LINES * 2 * SMRI_WAVES];
    float upper[HALF * 2 * SMRI_WAVES], lower[HALF * 2 * SMRI_WAVES], c[SMRI_WAVES * 2 * SMRI_WAVES], s[SMRI_WAVES * 2 * SMRI_WAVES];
    for (size_t y = 0; y < m; y++) {
        const float *line = picture + (cut->row + y) * S + cut->column, *window = cut->window + y * m;
        for (size_t x = 0; x < half; x++) {
            const float left = line[x] * window[x], right = line[m - 1 - x] * window[m - 1 - x];
            even[y * half + x] = left + right;
            odd[y * half + x] = left - right;
        }
    }
    product(across, 2 * W, (struct matrix){even, half, 1}, cut->cosines, W, m, half, W);
    product(across + W, 2 * W, (struct matrix){odd, half, 1}, cut->sines, W, m, half, W);
    for (size_t y = 0; y < half; y++) {
        const float *above = across + y * 2 * W, *below = across + (m - 1 - y) * 2 * W;
        for (size_t x = 0; x < 2 * W; x++) {
            upper[y * 2 * W + x] = above[x] + below[x];
            lower[y * 2 * W + x] = above[x] - below[x];
        }
    }
    product(c, 2 * W, (struct matrix){cut->cosines, 1, W}, upper, 2 * W, W, half, 2 * W);
    product(s, 2 * W, (struct matrix){cut->sines, 1, W}, lower, 2 * W, W, half, 2 * W);
    for (size_t y = 0; y < W; y++) {
        const float *cc = c + y * 2 * W, *cs = cc + W, *sc = s + y * 2 * W, *ss = sc + W;
        float *plus = power + y * W, *minus = power + (W + y) * W;
        for (size_t x = 0; x < W; x++) plus[x] = magnitude(cc[x] - ss[x], cs[x] + sc[x]);
        for (size_t x = 0; x < W; x++) minus[x] = magnitude(cc[x] + ss[x], cs[x] - sc[x]);
    }
}

/* The sum of squares: lane i % 8 sums its own in order, then the lanes are added by pairs. */
static float sum_of_squares(const float *x, size_t n) {
    float lane[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t l = 0; l < 8; l++) lane[l] += x[i + l] * x[i + l];
    for (size_t l = 0; i + l < n; l++) lane[l] += x[i + l] * x[i + l];
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

static void read_places(float *restrict out, const float *power, const struct smri_places *places, float floor) {
    const size_t n = places->n;
    const int32_t *at = places->index;
    const float *w = places->weights;
    for (size_t i = 0; i < n; i++)
        out[i] = (w[i] * power[at[i]] + w[n + i] * power[at[n + i]]) +
                 (w[2 * n + i] * power[at[2 * n + i]] + w[3 * n + i] * power[at[3 * n + i]]);
    const float least = floor * sqrtf(sum_of_squares(out, n) / (float)n) + 1e-6f;
    for (size_t i = 0; i < n; i++) out[i] += least;
}

void SMRI_FILLER(smri_polar_spectra)(float *out, const float *pictures, const struct smri_cut *cut,
                                     const struct smri_places *readings, size_t n_readings, float floor, size_t N, size_t S) {
    float power[2 * SMRI_WAVES * SMRI_WAVES];
    for (size_t p = 0; p < N; p++) {
        magnitudes(power, pictures + p * S * S, cut, S);
        for (const struct smri_places *to = readings; to < readings + n_readings; out += to->n, to++)
            read_places(out, power, to, floor);
    }
}

/* ---- transforms of maps ---- */

/* out[2 n_radial][SMRI_POLAR_WAVES] */
static void transform(float *out, const float *map, const struct smri_polar_waves *w) {
    float along[SMRI_POLAR_RINGS * SMRI_POLAR_WAVES];
    product(along, SMRI_POLAR_WAVES, (struct matrix){map, w->A, 1}, w->angles, SMRI_POLAR_WAVES, w->R, w->A, SMRI_POLAR_WAVES);
    product(out, SMRI_POLAR_WAVES, (struct matrix){w->rings, w->R, 1}, along, SMRI_POLAR_WAVES, 2 * w->n_radial, w->R,
            SMRI_POLAR_WAVES);
}

void SMRI_FILLER(smri_polar_descriptors)(float *out, const float *maps, const struct smri_polar_waves *w, size_t N) {
    float both[SMRI_POLAR_RINGS * SMRI_POLAR_WAVES];
    const size_t n = w->n_radial * w->n_angular;
    for (size_t p = 0; p < N; p++, out += n) {
        transform(both, maps + p * w->R * w->A, w);
        for (size_t k = 0; k < w->n_radial; k++) {
            const float *cc = both + k * SMRI_POLAR_WAVES, *cs = cc + 16;
            const float *sc = cc + w->n_radial * SMRI_POLAR_WAVES, *ss = sc + 16;
            for (size_t f = 0; f < w->n_angular; f++)
                out[k * w->n_angular + f] = magnitude(cc[f] + ss[f], cs[f] - sc[f]) + magnitude(cc[f] - ss[f], cs[f] + sc[f]);
        }
        const float length = sqrtf(sum_of_squares(out, n)) + 1e-12f;
        for (size_t i = 0; i < n; i++) out[i] = sqrtf(out[i] / length);
    }
}

static float length_without_means(const float *map, size_t R, size_t A) {
    float sum = 0;
    for (size_t r = 0; r < R; r++) {
        float ring[SMRI_PICTURE_PX], mean = 0;
        for (size_t a = 0; a < A; a++) mean += map[r * A + a];
        mean /= (float)A;
        for (size_t a = 0; a < A; a++) ring[a] = map[r * A + a] - mean;
        sum += sum_of_squares(ring, A);
    }
    return sqrtf(sum) + 1e-9f;
}

void SMRI_FILLER(smri_polar_low)(float *out, const float *maps, const struct smri_polar_waves *w, size_t N) {
    float both[SMRI_POLAR_RINGS * SMRI_POLAR_WAVES];
    for (size_t p = 0; p < N; p++, maps += w->R * w->A) {
        transform(both, maps, w);
        const float scale = 1 / length_without_means(maps, w->R, w->A);
        for (size_t k = 0; k < 2 * w->n_radial - 1; k++, out += 2 * w->n_angular) {
            const bool below = k >= w->n_radial; /* of the negative frequency the sines along rings have the other sign */
            const float *cc = both + (below ? 2 * w->n_radial - 1 - k : k) * SMRI_POLAR_WAVES, *cs = cc + 16;
            const float *sc = cc + w->n_radial * SMRI_POLAR_WAVES, *ss = sc + 16, sign = below ? -1.0f : 1.0f;
            for (size_t f = 0; f < w->n_angular; f++) {
                out[2 * f] = (cc[f] - sign * ss[f]) * scale;
                out[2 * f + 1] = -(cs[f] + sign * sc[f]) * scale;
            }
        }
    }
}

/* ---- correlation of low transforms ---- */

enum { K = SMRI_POLAR_RINGS, F = 16 }; /* frequencies along rings; along angles, with zeros after SMRI_LOW_WAVES */

/* The highest value of the surface whose transform is real + i imaginary, [n][F] each. */
static float highest(const float real[K][F], const float imaginary[K][F], const struct smri_low_waves *w) {
    const size_t n = 2 * w->n_radial - 1;
    floats top = load(w->angles) * 0 - INFINITY;
    for (size_t s = 0; s < w->n_shifts; s++) {
        const float *turn = w->rings + s * n * 2;
        float along[2][F];
        for (size_t v = 0; v < F; v += LANES) {
            floats re = {0}, im = {0};
            for (size_t k = 0; k < n; k++) {
                re += turn[2 * k] * load(real[k] + v) - turn[2 * k + 1] * load(imaginary[k] + v);
                im += turn[2 * k] * load(imaginary[k] + v) + turn[2 * k + 1] * load(real[k] + v);
            }
            store(along[0] + v, re);
            store(along[1] + v, im);
        }
        for (size_t v = 0; v < SMRI_LOW_ANGLES; v += LANES) {
            floats sum = {0};
            for (size_t f = 0; f < SMRI_LOW_WAVES; f++) {
                const float *wave = w->angles + 2 * f * SMRI_LOW_ANGLES + v;
                sum += along[0][f] * load(wave) - along[1][f] * load(wave + SMRI_LOW_ANGLES);
            }
            for (size_t l = 0; l < LANES; l++) top[l] = sum[l] > top[l] ? sum[l] : top[l];
        }
    }
    float best = -INFINITY;
    for (size_t l = 0; l < LANES; l++) best = top[l] > best ? top[l] : best;
    return best;
}

void SMRI_FILLER(smri_low_heights)(float *out, const float *a, const float *b, const struct smri_low_waves *w, size_t N) {
    const size_t n = 2 * w->n_radial - 1, size = n * SMRI_LOW_WAVES * 2;
    float real[K][F] = {{0}}, imaginary[K][F] = {{0}};
    for (size_t p = 0; p < N; p++, a += size, b += size) {
        out[p] = -INFINITY;
        for (int mirrored = 0; mirrored < 2; mirrored++) {
            for (size_t k = 0; k < n; k++) {
                const float *x = a + (mirrored && k > 0 ? n - k : k) * SMRI_LOW_WAVES * 2, *y = b + k * SMRI_LOW_WAVES * 2;
                const float sign = mirrored ? 1.0f : -1.0f; /* conjugate, unless mirrored */
                for (size_t f = 0; f < SMRI_LOW_WAVES; f++) {
                    const float re = x[2 * f], im = sign * x[2 * f + 1];
                    real[k][f] = re * y[2 * f] - im * y[2 * f + 1];
                    imaginary[k][f] = re * y[2 * f + 1] + im * y[2 * f];
                }
            }
            const float height = highest((const float(*)[F])real, (const float(*)[F])imaginary, w);
            out[p] = height > out[p] ? height : out[p];
        }
    }
}
