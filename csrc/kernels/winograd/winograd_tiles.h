/* Winograd's transforms for any vector type: the including file brings what lanes.h has,
 *
 *     floats, SMRI_LANES                  a vector of SMRI_LANES floats (it may be a float) with the operators + and -
 *     vset1(f), vfma(a, b, c)             f in every lane; a b + c
 *     positive(v), rounded(v)             max(0, v); v rounded to bfloat16
 *     vload(numbers, i, n, precision), vstore(numbers, i, v, n, precision)    n lanes at numbers[i], of either precision
 *
 * and SMRI_ISA (family.h), and gets the function that fills winograd.h's tables. A two-dimensional transform is a
 * one-dimensional one ("line") of each column and then of each row.
 *
 * The points are 0, +-5/8, +-3/2, infinity: of the symmetric pairs tried, the smallest root mean square error but one
 * (2/3, 3/2 is 2 % better), and every constant of A and B is exact in fp32. 128 channels, against float64, relative to
 * the outputs' root mean square: 0.90e-6 forward and 1.17e-6 backward-weights, against 1.87e-6 and 2.59e-6 with the
 * usual points 1 and 2, and 0.16e-6 for direct sums in the same order. */
#pragma once

#include "kernels/winograd/winograd.h"

#define SMRI_UNROLL_ALL _Pragma("GCC unroll 36")
#define SMRI_WINOGRAD_TAPS 3

#define SMRI_WINOGRAD_A1 (5.0f / 8)
#define SMRI_WINOGRAD_A2 (SMRI_WINOGRAD_A1 * SMRI_WINOGRAD_A1)
#define SMRI_WINOGRAD_A3 (SMRI_WINOGRAD_A2 * SMRI_WINOGRAD_A1)
#define SMRI_WINOGRAD_B1 (3.0f / 2)
#define SMRI_WINOGRAD_B2 (SMRI_WINOGRAD_B1 * SMRI_WINOGRAD_B1)
#define SMRI_WINOGRAD_B3 (SMRI_WINOGRAD_B2 * SMRI_WINOGRAD_B1)
/* Divisors of the Lagrange polynomials, and with them the rows of G: (1, +-a, a^2) / SMRI_WINOGRAD_NA and so on. */
#define SMRI_WINOGRAD_N0 ((double)SMRI_WINOGRAD_A2 * SMRI_WINOGRAD_B2)
#define SMRI_WINOGRAD_NA (2.0 * SMRI_WINOGRAD_A2 * ((double)SMRI_WINOGRAD_A2 - SMRI_WINOGRAD_B2))
#define SMRI_WINOGRAD_NB (2.0 * SMRI_WINOGRAD_B2 * ((double)SMRI_WINOGRAD_B2 - SMRI_WINOGRAD_A2))

/* B^T d. A row holds the coefficients of the product of (x - p) over the points p but its own: (x^2 - a^2)(x^2 - b^2),
 * x (x^2 - b^2)(x +- a), x (x^2 - a^2)(x +- b), and x (x^2 - a^2)(x^2 - b^2) for infinity. */
SMRI_INLINE void input_half(floats out[3], const floats d[SMRI_WINOGRAD_IN], const bool low) { /* rows 0, 1, 2 or 3, 4, 5 */
    const float a2 = SMRI_WINOGRAD_A2, b2 = SMRI_WINOGRAD_B2, other2 = low ? b2 : a2;
    const float point = low ? SMRI_WINOGRAD_A1 : SMRI_WINOGRAD_B1;
    const floats even = vfma(vset1(-other2), d[2], d[4]), odd = vfma(vset1(-other2), d[1], d[3]);
    const floats *end = low ? d : d + 1; /* 0 or infinity */
    out[low ? 0 : 2] = vfma(vset1(a2 * b2), end[0], vfma(vset1(-(a2 + b2)), end[2], end[4]));
    out[low ? 1 : 0] = vfma(vset1(point), odd, even);
    out[low ? 2 : 1] = vfma(vset1(-point), odd, even);
}
SMRI_INLINE void input_line(floats out[SMRI_WINOGRAD_IN], const floats d[SMRI_WINOGRAD_IN]) {
    input_half(out, d, true);
    input_half(out + 3, d, false);
}

/* A^T m: y[i] = sum over points of point^i m, and m at infinity for the highest power. */
SMRI_INLINE void output_line(floats y[SMRI_WINOGRAD_OUT], const floats m[SMRI_WINOGRAD_IN]) {
    const floats sum_a = m[1] + m[2], difference_a = m[1] - m[2];
    const floats sum_b = m[3] + m[4], difference_b = m[3] - m[4];
    y[0] = m[0] + (sum_a + sum_b);
    y[1] = vfma(vset1(SMRI_WINOGRAD_A1), difference_a, vset1(SMRI_WINOGRAD_B1) * difference_b);
    y[2] = vfma(vset1(SMRI_WINOGRAD_A2), sum_a, vset1(SMRI_WINOGRAD_B2) * sum_b);
    y[3] = vfma(vset1(SMRI_WINOGRAD_A3), difference_a, vfma(vset1(SMRI_WINOGRAD_B3), difference_b, m[5]));
}

/* A y, the transpose of the one above. */
SMRI_INLINE void gradient_line(floats m[SMRI_WINOGRAD_IN], const floats y[SMRI_WINOGRAD_OUT]) {
    const floats even_a = vfma(vset1(SMRI_WINOGRAD_A2), y[2], y[0]), odd_a = vfma(vset1(SMRI_WINOGRAD_A2), y[3], y[1]);
    const floats even_b = vfma(vset1(SMRI_WINOGRAD_B2), y[2], y[0]), odd_b = vfma(vset1(SMRI_WINOGRAD_B2), y[3], y[1]);
    m[0] = y[0];
    m[1] = vfma(vset1(SMRI_WINOGRAD_A1), odd_a, even_a);
    m[2] = vfma(vset1(-SMRI_WINOGRAD_A1), odd_a, even_a);
    m[3] = vfma(vset1(SMRI_WINOGRAD_B1), odd_b, even_b);
    m[4] = vfma(vset1(-SMRI_WINOGRAD_B1), odd_b, even_b);
    m[5] = y[3];
}

/* G g. */
SMRI_INLINE void weights_line(floats u[SMRI_WINOGRAD_IN], const floats g[SMRI_WINOGRAD_TAPS]) {
    const floats even_a = vfma(vset1((float)(SMRI_WINOGRAD_A2 / SMRI_WINOGRAD_NA)), g[2],
                               vset1((float)(1 / SMRI_WINOGRAD_NA)) * g[0]);
    const floats even_b = vfma(vset1((float)(SMRI_WINOGRAD_B2 / SMRI_WINOGRAD_NB)), g[2],
                               vset1((float)(1 / SMRI_WINOGRAD_NB)) * g[0]);
    u[0] = vset1((float)(1 / SMRI_WINOGRAD_N0)) * g[0];
    u[1] = vfma(vset1((float)(SMRI_WINOGRAD_A1 / SMRI_WINOGRAD_NA)), g[1], even_a);
    u[2] = vfma(vset1((float)(-SMRI_WINOGRAD_A1 / SMRI_WINOGRAD_NA)), g[1], even_a);
    u[3] = vfma(vset1((float)(SMRI_WINOGRAD_B1 / SMRI_WINOGRAD_NB)), g[1], even_b);
    u[4] = vfma(vset1((float)(-SMRI_WINOGRAD_B1 / SMRI_WINOGRAD_NB)), g[1], even_b);
    u[5] = g[2];
}

/* G^T u. */
SMRI_INLINE void weights_gradient_line(floats g[SMRI_WINOGRAD_TAPS], const floats u[SMRI_WINOGRAD_IN]) {
    const floats sum_a = u[1] + u[2], difference_a = u[1] - u[2];
    const floats sum_b = u[3] + u[4], difference_b = u[3] - u[4];
    const floats pairs = vfma(vset1((float)(1 / SMRI_WINOGRAD_NA)), sum_a, vset1((float)(1 / SMRI_WINOGRAD_NB)) * sum_b);
    g[0] = vfma(vset1((float)(1 / SMRI_WINOGRAD_N0)), u[0], pairs);
    g[1] = vfma(vset1((float)(SMRI_WINOGRAD_A1 / SMRI_WINOGRAD_NA)), difference_a,
                vset1((float)(SMRI_WINOGRAD_B1 / SMRI_WINOGRAD_NB)) * difference_b);
    g[2] = vfma(vset1((float)(SMRI_WINOGRAD_A2 / SMRI_WINOGRAD_NA)), sum_a,
                vfma(vset1((float)(SMRI_WINOGRAD_B2 / SMRI_WINOGRAD_NB)), sum_b, u[5]));
}

/* Transformed tiles: whole vectors of fp32. */
SMRI_INLINE floats vload_floats(const float *p) { return vload(p, 0, SMRI_LANES, SMRI_FP32); }
SMRI_INLINE void vstore_floats(float *p, floats v) { vstore(p, 0, v, SMRI_LANES, SMRI_FP32); }

/* Row `row` of a transformed tile, and column j. */
SMRI_INLINE void store_row(float *v, size_t stride, size_t row, size_t c, const floats line[SMRI_WINOGRAD_IN]) {
    SMRI_UNROLL_ALL for (size_t j = 0; j < SMRI_WINOGRAD_IN; j++)
        vstore_floats(v + (row * SMRI_WINOGRAD_IN + j) * stride + c, line[j]);
}
SMRI_INLINE void load_column(floats column[SMRI_WINOGRAD_IN], const float *m, size_t stride, size_t j, size_t c) {
    SMRI_UNROLL_ALL for (size_t i = 0; i < SMRI_WINOGRAD_IN; i++)
        column[i] = vload_floats(m + (i * SMRI_WINOGRAD_IN + j) * stride + c);
}

/* A transform loads its columns one after the other and stores its rows one after the other, so that only the half-way
 * result, in the first-level cache, needs more room than the registers. It takes n channels from c on, of pixels of a
 * precision; n, if a whole vector, and the precision are constants wherever these are inlined. */
/* Two passes of three rows each: 18 vectors half-way stay in 32 registers where 36 would not, which is worth reading
 * most pixels twice (57 -> 49 ns for 16 channels). */
SMRI_INLINE void input_lanes(float *v, size_t stride, const void *const *pixels, enum smri_precision precision, size_t c,
                             size_t n) {
    SMRI_UNROLL_ALL for (size_t half = 0; half < 2; half++) {
        floats rows[3][SMRI_WINOGRAD_IN], column[SMRI_WINOGRAD_IN], line[SMRI_WINOGRAD_IN];
        SMRI_UNROLL_ALL for (size_t j = 0; j < SMRI_WINOGRAD_IN; j++) {
            SMRI_UNROLL_ALL for (size_t i = half; i < half + 5; i++) /* the half does not read the sixth */
                column[i] = vload(pixels[i * SMRI_WINOGRAD_IN + j], c, n, precision);
            input_half(line, column, half == 0);
            SMRI_UNROLL_ALL for (size_t i = 0; i < 3; i++) rows[i][j] = line[i];
        }
        SMRI_UNROLL_ALL for (size_t i = 0; i < 3; i++) {
            input_line(line, rows[i]);
            store_row(v, stride, half * 3 + i, c, line);
        }
    }
}

SMRI_INLINE void gradient_lanes(float *v, size_t stride, const void *const *pixels, enum smri_precision precision, size_t c,
                                size_t n) {
    floats half[SMRI_WINOGRAD_IN][SMRI_WINOGRAD_OUT], column[SMRI_WINOGRAD_OUT], line[SMRI_WINOGRAD_IN];
    SMRI_UNROLL_ALL for (size_t j = 0; j < SMRI_WINOGRAD_OUT; j++) {
        SMRI_UNROLL_ALL for (size_t i = 0; i < SMRI_WINOGRAD_OUT; i++)
            column[i] = vload(pixels[i * SMRI_WINOGRAD_OUT + j], c, n, precision);
        gradient_line(line, column);
        SMRI_UNROLL_ALL for (size_t i = 0; i < SMRI_WINOGRAD_IN; i++) half[i][j] = line[i];
    }
    SMRI_UNROLL_ALL for (size_t i = 0; i < SMRI_WINOGRAD_IN; i++) {
        gradient_line(line, half[i]);
        store_row(v, stride, i, c, line);
    }
}

SMRI_INLINE void output_lanes(void *const *pixels, size_t channel, const float *m, size_t stride, const bool accumulate,
                         const struct smri_epilogue *epilogue, size_t c, size_t n, enum smri_precision precision) {
    floats half[SMRI_WINOGRAD_OUT][SMRI_WINOGRAD_IN], column[SMRI_WINOGRAD_IN], line[SMRI_WINOGRAD_OUT];
    SMRI_UNROLL_ALL for (size_t j = 0; j < SMRI_WINOGRAD_IN; j++) {
        load_column(column, m, stride, j, c);
        output_line(line, column);
        SMRI_UNROLL_ALL for (size_t i = 0; i < SMRI_WINOGRAD_OUT; i++) half[i][j] = line[i];
    }
    const bool scaled = epilogue->scale != NULL;
    const floats scale = scaled ? vload(epilogue->scale, c, n, SMRI_FP32) : vset1(1.0f);
    const floats shift = scaled ? vload(epilogue->shift, c, n, SMRI_FP32) : vset1(0.0f);
    SMRI_UNROLL_ALL for (size_t i = 0; i < SMRI_WINOGRAD_OUT; i++) {
        output_line(line, half[i]);
        SMRI_UNROLL_ALL for (size_t j = 0; j < SMRI_WINOGRAD_OUT; j++) {
            void *pixel = pixels[i * SMRI_WINOGRAD_OUT + j];
            if (scaled) line[j] = vfma(scale, line[j], shift);
            if (accumulate) line[j] = line[j] + vload(pixel, channel + c, n, precision);
            if (epilogue->relu) line[j] = positive(line[j]);
            vstore(pixel, channel + c, line[j], n, precision);
        }
    }
}

static void pad_with_zeros(float *v, size_t stride, size_t channels) {
    const size_t begin = (channels + SMRI_LANES - 1) / SMRI_LANES * SMRI_LANES;
    const size_t end = (channels + SMRI_WINOGRAD_LANES - 1) / SMRI_WINOGRAD_LANES * SMRI_WINOGRAD_LANES;
    for (size_t p = 0; p < SMRI_WINOGRAD_POINTS; p++)
        for (size_t c = begin; c < end; c += SMRI_LANES) vstore_floats(v + p * stride + c, vset1(0.0f));
}

SMRI_INLINE void input(float *v, size_t stride, const void *const *pixels, size_t channels,
                       enum smri_precision precision) {
    SMRI_FOR_VECTORS(channels, input_lanes, v, stride, pixels, precision);
    pad_with_zeros(v, stride, channels);
}

SMRI_INLINE void gradient(float *v, size_t stride, const void *const *pixels, size_t channels,
                          enum smri_precision precision) {
    SMRI_FOR_VECTORS(channels, gradient_lanes, v, stride, pixels, precision);
    pad_with_zeros(v, stride, channels);
}

SMRI_INLINE void output(void *const *pixels, size_t channel, const float *m, size_t stride, size_t channels,
                        bool accumulate, struct smri_epilogue epilogue, enum smri_precision precision) {
    size_t c = 0;
    for (; c + SMRI_LANES <= channels; c += SMRI_LANES)
        accumulate ? output_lanes(pixels, channel, m, stride, true, &epilogue, c, SMRI_LANES, precision)
                   : output_lanes(pixels, channel, m, stride, false, &epilogue, c, SMRI_LANES, precision);
    if (c < channels) output_lanes(pixels, channel, m, stride, accumulate, &epilogue, c, channels - c, precision);
}

SMRI_INLINE void weights(float *u, size_t stride, const float *w, size_t tap_stride, size_t count,
                         enum smri_precision precision) {
    for (size_t c = 0; c < count; c += SMRI_LANES) {
        floats half[SMRI_WINOGRAD_IN][SMRI_WINOGRAD_TAPS], column[SMRI_WINOGRAD_TAPS], line[SMRI_WINOGRAD_IN];
        SMRI_UNROLL_ALL for (size_t j = 0; j < SMRI_WINOGRAD_TAPS; j++) {
            SMRI_UNROLL_ALL for (size_t i = 0; i < SMRI_WINOGRAD_TAPS; i++) {
                column[i] = vload_floats(w + (i * SMRI_WINOGRAD_TAPS + j) * tap_stride + c);
                if (precision == SMRI_BF16) column[i] = rounded(column[i]);
            }
            weights_line(line, column);
            SMRI_UNROLL_ALL for (size_t i = 0; i < SMRI_WINOGRAD_IN; i++) half[i][j] = line[i];
        }
        SMRI_UNROLL_ALL for (size_t i = 0; i < SMRI_WINOGRAD_IN; i++) {
            weights_line(line, half[i]);
            store_row(u, stride, i, c, line);
        }
    }
}

static void weights_gradient(float *dw, size_t tap_stride, const float *u, size_t stride, size_t count, size_t parts,
                             size_t part_stride) {
    for (size_t c = 0; c < count; c += SMRI_LANES) {
        floats half[SMRI_WINOGRAD_TAPS][SMRI_WINOGRAD_IN], column[SMRI_WINOGRAD_IN], line[SMRI_WINOGRAD_TAPS];
        SMRI_UNROLL_ALL for (size_t j = 0; j < SMRI_WINOGRAD_IN; j++) {
            load_column(column, u, stride, j, c);
            for (size_t part = 1; part < parts; part++)
                SMRI_UNROLL_ALL for (size_t i = 0; i < SMRI_WINOGRAD_IN; i++)
                    column[i] = column[i] + vload_floats(u + part * part_stride + (i * SMRI_WINOGRAD_IN + j) * stride + c);
            weights_gradient_line(line, column);
            SMRI_UNROLL_ALL for (size_t i = 0; i < SMRI_WINOGRAD_TAPS; i++) half[i][j] = line[i];
        }
        SMRI_UNROLL_ALL for (size_t i = 0; i < SMRI_WINOGRAD_TAPS; i++) {
            weights_gradient_line(line, half[i]);
            SMRI_UNROLL_ALL for (size_t j = 0; j < SMRI_WINOGRAD_TAPS; j++)
                vstore_floats(dw + (i * SMRI_WINOGRAD_TAPS + j) * tap_stride + c, line[j]);
        }
    }
}

SMRI_BOTH_PRECISIONS(input, (float *v, size_t stride, const void *const *pixels, size_t channels), v, stride, pixels, channels)
SMRI_BOTH_PRECISIONS(gradient, (float *v, size_t stride, const void *const *pixels, size_t channels), v, stride, pixels,
                     channels)
SMRI_BOTH_PRECISIONS(output, (void *const *pixels, size_t channel, const float *m, size_t stride, size_t channels,
                              bool accumulate, struct smri_epilogue epilogue), pixels, channel, m, stride, channels,
                     accumulate, epilogue)
SMRI_BOTH_PRECISIONS(weights, (float *u, size_t stride, const float *w, size_t tap_stride, size_t count), u, stride, w,
                     tap_stride, count)

void SMRI_FILLER(smri_winograd_kernels)(struct smri_winograd_kernels *tables) {
    tables[SMRI_FP32] =
        (struct smri_winograd_kernels){input_fp32, gradient_fp32, output_fp32, weights_fp32, weights_gradient};
    tables[SMRI_BF16] =
        (struct smri_winograd_kernels){input_bf16, gradient_bf16, output_bf16, weights_bf16, weights_gradient};
}
