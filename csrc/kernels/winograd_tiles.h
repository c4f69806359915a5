/* Winograd's transforms for any vector type: the including file defines
 *
 *     vector, LANES                  a vector of LANES floats (it may be a float) with the operators + and -
 *     splat(f), multiply_add(a, b, c)
 *     load(p), store(p, v)           LANES floats
 *     load_part(p, n), store_part(p, v, n)    the first n < LANES only; the other lanes load as zeros
 *
 * and gets the five kernels of winograd.h as static functions. A two-dimensional transform is a one-dimensional one
 * ("line") of each column and then of each row.
 *
 * The points are 0, +-5/8, +-3/2, infinity: of the symmetric pairs tried, the smallest root mean square error but one
 * (2/3, 3/2 is 2 % better), and every constant of A and B is exact in fp32. 128 channels, against float64, relative to
 * the outputs' root mean square: 0.90e-6 forward and 1.17e-6 backward-weights, against 1.87e-6 and 2.59e-6 with the
 * usual points 1 and 2, and 0.16e-6 for direct sums in the same order. */
#ifndef SMRI_KERNELS_WINOGRAD_TILES_H
#define SMRI_KERNELS_WINOGRAD_TILES_H

#include "kernels/winograd.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define UNROLL_ALL _Pragma("GCC unroll 36")
#define IN SMRI_WINOGRAD_IN
#define OUT SMRI_WINOGRAD_OUT
#define TAPS 3

#define A1 (5.0f / 8)
#define A2 (A1 * A1)
#define A3 (A2 * A1)
#define B1 (3.0f / 2)
#define B2 (B1 * B1)
#define B3 (B2 * B1)
/* Divisors of the Lagrange polynomials, and with them the rows of G: (1, +-a, a^2) / NA and so on. */
#define N0 ((double)A2 * B2)
#define NA (2.0 * A2 * ((double)A2 - B2))
#define NB (2.0 * B2 * ((double)B2 - A2))

/* B^T d. A row holds the coefficients of the product of (x - p) over the points p but its own: (x^2 - a^2)(x^2 - b^2),
 * x (x^2 - b^2)(x +- a), x (x^2 - a^2)(x +- b), and x (x^2 - a^2)(x^2 - b^2) for infinity. */
ALWAYS_INLINE void input_line(vector out[IN], const vector d[IN]) {
    const vector even_a = multiply_add(splat(-B2), d[2], d[4]), odd_a = multiply_add(splat(-B2), d[1], d[3]);
    const vector even_b = multiply_add(splat(-A2), d[2], d[4]), odd_b = multiply_add(splat(-A2), d[1], d[3]);
    out[0] = multiply_add(splat(A2 * B2), d[0], multiply_add(splat(-(A2 + B2)), d[2], d[4]));
    out[1] = multiply_add(splat(A1), odd_a, even_a);
    out[2] = multiply_add(splat(-A1), odd_a, even_a);
    out[3] = multiply_add(splat(B1), odd_b, even_b);
    out[4] = multiply_add(splat(-B1), odd_b, even_b);
    out[5] = multiply_add(splat(A2 * B2), d[1], multiply_add(splat(-(A2 + B2)), d[3], d[5]));
}

/* A^T m: y[i] = sum over points of point^i m, and m at infinity for the highest power. */
ALWAYS_INLINE void output_line(vector y[OUT], const vector m[IN]) {
    const vector sum_a = m[1] + m[2], difference_a = m[1] - m[2];
    const vector sum_b = m[3] + m[4], difference_b = m[3] - m[4];
    y[0] = m[0] + (sum_a + sum_b);
    y[1] = multiply_add(splat(A1), difference_a, splat(B1) * difference_b);
    y[2] = multiply_add(splat(A2), sum_a, splat(B2) * sum_b);
    y[3] = multiply_add(splat(A3), difference_a, multiply_add(splat(B3), difference_b, m[5]));
}

/* A y, the transpose of the one above. */
ALWAYS_INLINE void gradient_line(vector m[IN], const vector y[OUT]) {
    const vector even_a = multiply_add(splat(A2), y[2], y[0]), odd_a = multiply_add(splat(A2), y[3], y[1]);
    const vector even_b = multiply_add(splat(B2), y[2], y[0]), odd_b = multiply_add(splat(B2), y[3], y[1]);
    m[0] = y[0];
    m[1] = multiply_add(splat(A1), odd_a, even_a);
    m[2] = multiply_add(splat(-A1), odd_a, even_a);
    m[3] = multiply_add(splat(B1), odd_b, even_b);
    m[4] = multiply_add(splat(-B1), odd_b, even_b);
    m[5] = y[3];
}

/* G g. */
ALWAYS_INLINE void weights_line(vector u[IN], const vector g[TAPS]) {
    const vector even_a = multiply_add(splat((float)(A2 / NA)), g[2], splat((float)(1 / NA)) * g[0]);
    const vector even_b = multiply_add(splat((float)(B2 / NB)), g[2], splat((float)(1 / NB)) * g[0]);
    u[0] = splat((float)(1 / N0)) * g[0];
    u[1] = multiply_add(splat((float)(A1 / NA)), g[1], even_a);
    u[2] = multiply_add(splat((float)(-A1 / NA)), g[1], even_a);
    u[3] = multiply_add(splat((float)(B1 / NB)), g[1], even_b);
    u[4] = multiply_add(splat((float)(-B1 / NB)), g[1], even_b);
    u[5] = g[2];
}

/* G^T u. */
ALWAYS_INLINE void weights_gradient_line(vector g[TAPS], const vector u[IN]) {
    const vector sum_a = u[1] + u[2], difference_a = u[1] - u[2];
    const vector sum_b = u[3] + u[4], difference_b = u[3] - u[4];
    const vector pairs = multiply_add(splat((float)(1 / NA)), sum_a, splat((float)(1 / NB)) * sum_b);
    g[0] = multiply_add(splat((float)(1 / N0)), u[0], pairs);
    g[1] = multiply_add(splat((float)(A1 / NA)), difference_a, splat((float)(B1 / NB)) * difference_b);
    g[2] = multiply_add(splat((float)(A2 / NA)), sum_a, multiply_add(splat((float)(B2 / NB)), sum_b, u[5]));
}

/* n lanes, a full vector of them when `whole`, a constant wherever these are inlined. */
ALWAYS_INLINE vector fetch(const float *p, const bool whole, size_t n) { return whole ? load(p) : load_part(p, n); }
ALWAYS_INLINE void put(float *p, vector v, const bool whole, size_t n) { whole ? store(p, v) : store_part(p, v, n); }

/* A transform loads its columns one after the other and stores its rows one after the other, so that only the half-way
 * result, in the first-level cache, needs more room than the registers. */
/* Rows 0 to 2 of B^T d for column j of the tile, or rows 3 to 5. */
ALWAYS_INLINE void input_half_line(vector out[3], const float *const *pixels, size_t j, size_t c, const bool low,
                                   const bool whole, size_t n) {
    const vector d1 = fetch(pixels[IN + j] + c, whole, n), d2 = fetch(pixels[2 * IN + j] + c, whole, n);
    const vector d3 = fetch(pixels[3 * IN + j] + c, whole, n), d4 = fetch(pixels[4 * IN + j] + c, whole, n);
    if (low) {
        const vector even = multiply_add(splat(-B2), d2, d4), odd = multiply_add(splat(-B2), d1, d3);
        const vector d0 = fetch(pixels[j] + c, whole, n);
        out[0] = multiply_add(splat(A2 * B2), d0, multiply_add(splat(-(A2 + B2)), d2, d4));
        out[1] = multiply_add(splat(A1), odd, even);
        out[2] = multiply_add(splat(-A1), odd, even);
    } else {
        const vector even = multiply_add(splat(-A2), d2, d4), odd = multiply_add(splat(-A2), d1, d3);
        const vector d5 = fetch(pixels[5 * IN + j] + c, whole, n);
        out[0] = multiply_add(splat(B1), odd, even);
        out[1] = multiply_add(splat(-B1), odd, even);
        out[2] = multiply_add(splat(A2 * B2), d1, multiply_add(splat(-(A2 + B2)), d3, d5));
    }
}

/* Two passes of three rows each: 18 vectors half-way stay in 32 registers where 36 would not, which is worth reading
 * most pixels twice (57 -> 49 ns for 16 channels). */
ALWAYS_INLINE void input_lanes(float *v, size_t stride, const float *const *pixels, size_t c, const bool whole,
                               size_t n) {
    UNROLL_ALL for (size_t half = 0; half < 2; half++) {
        vector rows[3][IN], line[IN];
        UNROLL_ALL for (size_t j = 0; j < IN; j++) {
            input_half_line(line, pixels, j, c, half == 0, whole, n);
            UNROLL_ALL for (size_t i = 0; i < 3; i++) rows[i][j] = line[i];
        }
        UNROLL_ALL for (size_t i = 0; i < 3; i++) {
            input_line(line, rows[i]);
            UNROLL_ALL for (size_t j = 0; j < IN; j++) store(v + ((half * 3 + i) * IN + j) * stride + c, line[j]);
        }
    }
}

ALWAYS_INLINE void gradient_lanes(float *v, size_t stride, const float *const *pixels, size_t c, const bool whole,
                                  size_t n) {
    vector half[IN][OUT], column[OUT], line[IN];
    UNROLL_ALL for (size_t j = 0; j < OUT; j++) {
        UNROLL_ALL for (size_t i = 0; i < OUT; i++) column[i] = fetch(pixels[i * OUT + j] + c, whole, n);
        gradient_line(line, column);
        UNROLL_ALL for (size_t i = 0; i < IN; i++) half[i][j] = line[i];
    }
    UNROLL_ALL for (size_t i = 0; i < IN; i++) {
        gradient_line(line, half[i]);
        UNROLL_ALL for (size_t j = 0; j < IN; j++) store(v + (i * IN + j) * stride + c, line[j]);
    }
}

ALWAYS_INLINE void output_lanes(float *const *pixels, size_t channel, const float *m, size_t stride,
                                const bool accumulate, const bool whole, size_t n) {
    vector half[OUT][IN], column[IN], line[OUT];
    UNROLL_ALL for (size_t j = 0; j < IN; j++) {
        UNROLL_ALL for (size_t i = 0; i < IN; i++) column[i] = load(m + (i * IN + j) * stride);
        output_line(line, column);
        UNROLL_ALL for (size_t i = 0; i < OUT; i++) half[i][j] = line[i];
    }
    UNROLL_ALL for (size_t i = 0; i < OUT; i++) {
        output_line(line, half[i]);
        UNROLL_ALL for (size_t j = 0; j < OUT; j++) {
            float *pixel = pixels[i * OUT + j] + channel;
            if (accumulate) line[j] = line[j] + fetch(pixel, whole, n);
            put(pixel, line[j], whole, n);
        }
    }
}

static void pad_with_zeros(float *v, size_t stride, size_t channels) {
    const size_t begin = (channels + LANES - 1) / LANES * LANES;
    const size_t end = (channels + SMRI_WINOGRAD_LANES - 1) / SMRI_WINOGRAD_LANES * SMRI_WINOGRAD_LANES;
    for (size_t p = 0; p < SMRI_WINOGRAD_POINTS; p++)
        for (size_t c = begin; c < end; c += LANES) store(v + p * stride + c, splat(0.0f));
}

static void input(float *v, size_t stride, const float *const *pixels, size_t channels) {
    size_t c = 0;
    for (; c + LANES <= channels; c += LANES) input_lanes(v, stride, pixels, c, true, LANES);
    if (c < channels) input_lanes(v, stride, pixels, c, false, channels - c);
    pad_with_zeros(v, stride, channels);
}

static void gradient(float *v, size_t stride, const float *const *pixels, size_t channels) {
    size_t c = 0;
    for (; c + LANES <= channels; c += LANES) gradient_lanes(v, stride, pixels, c, true, LANES);
    if (c < channels) gradient_lanes(v, stride, pixels, c, false, channels - c);
    pad_with_zeros(v, stride, channels);
}

static void output(float *const *pixels, size_t channel, const float *m, size_t stride, size_t channels,
                   bool accumulate) {
    size_t c = 0;
    for (; c + LANES <= channels; c += LANES)
        accumulate ? output_lanes(pixels, channel + c, m + c, stride, true, true, LANES)
                   : output_lanes(pixels, channel + c, m + c, stride, false, true, LANES);
    if (c < channels) output_lanes(pixels, channel + c, m + c, stride, accumulate, false, channels - c);
}

static void weights(float *u, size_t stride, const float *w, size_t tap_stride, size_t count) {
    for (size_t c = 0; c < count; c += LANES) {
        vector half[IN][TAPS], column[TAPS], line[IN];
        UNROLL_ALL for (size_t j = 0; j < TAPS; j++) {
            UNROLL_ALL for (size_t i = 0; i < TAPS; i++) column[i] = load(w + (i * TAPS + j) * tap_stride + c);
            weights_line(line, column);
            UNROLL_ALL for (size_t i = 0; i < IN; i++) half[i][j] = line[i];
        }
        UNROLL_ALL for (size_t i = 0; i < IN; i++) {
            weights_line(line, half[i]);
            UNROLL_ALL for (size_t j = 0; j < IN; j++) store(u + (i * IN + j) * stride + c, line[j]);
        }
    }
}

static void weights_gradient(float *dw, size_t tap_stride, const float *u, size_t stride, size_t count, size_t parts,
                             size_t part_stride) {
    for (size_t c = 0; c < count; c += LANES) {
        vector half[TAPS][IN], column[IN], line[TAPS];
        UNROLL_ALL for (size_t j = 0; j < IN; j++) {
            UNROLL_ALL for (size_t i = 0; i < IN; i++) column[i] = load(u + (i * IN + j) * stride + c);
            for (size_t part = 1; part < parts; part++)
                UNROLL_ALL for (size_t i = 0; i < IN; i++)
                    column[i] = column[i] + load(u + part * part_stride + (i * IN + j) * stride + c);
            weights_gradient_line(line, column);
            UNROLL_ALL for (size_t i = 0; i < TAPS; i++) half[i][j] = line[i];
        }
        UNROLL_ALL for (size_t i = 0; i < TAPS; i++) {
            weights_gradient_line(line, half[i]);
            UNROLL_ALL for (size_t j = 0; j < TAPS; j++) store(dw + (i * TAPS + j) * tap_stride + c, line[j]);
        }
    }
}

#endif
