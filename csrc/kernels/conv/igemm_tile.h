/* The register tiles for vectors of any width, for floats and for pairs of bfloat16 numbers. The including file has lanes.h (or
 * as much of it as is used here) and defines
 *
 *     SMRI_IGEMM_PRECISION         of rows and results; in SMRI_BF16 a word of 32 bits holds two numbers along the sum
 *     broadcast(row, word)         that word of a row in all lanes
 *     broadcast_last(row, number)  the same of a last number, without a partner in SMRI_BF16
 *     multiply_add(x, w, sum)      sum + the products of a vector of words
 *
 * and gets the kernels `tile` and `gemm_tn` of igemm.h. A pass is 6 rows x 64 columns where there are 32 registers of 512 bits:
 * 24 sums, 4 vectors of weights, 1 broadcast. Elsewhere it is 6 x 16, one cache line of each row of weights: 12 sums, 2 and 1
 * in AVX2's 16 registers, 24, 4 and 1 in NEON's 32. A result's sum has the same order, whatever the width.
 *
 * On a core with two 512-bit multiply-add ports the two loads a cycle are not free: 10 loads for 24 multiply-adds reach
 * 92 % of the arithmetic peak from the first-level cache where 8 x 32 (10 loads for 16) and 14 x 32 (16 for 28) stop at 82 to
 * 86 %. Unrolling by four keeps the loop's own additions off the two ports. */
#pragma once

#include <math.h>

#include "kernels/conv/igemm.h"

#define SMRI_UNROLL_ALL _Pragma("GCC unroll 8")
#define SMRI_UNROLL_DEPTH _Pragma("GCC unroll 4")
#define SMRI_NO_UNROLL _Pragma("GCC unroll 1")

enum {
    LINE = 16,                                      /* floats of a cache line */
    PASS = SMRI_LANES == 16 ? SMRI_CONV_COLS : LINE, /* columns */
    ONE_PASS = PASS == SMRI_CONV_COLS,
    VECTORS = PASS / SMRI_LANES,
    STEPS = 4 * SMRI_CONV_COLS / PASS, /* between two requests for memory ahead: all passes ask for what one in 4 steps asks */
    NUMBERS = SMRI_IGEMM_PRECISION == SMRI_BF16 ? 2 : 1, /* of a word */
};

typedef floats sums_of_rows[SMRI_CONV_ROWS][VECTORS];

/* Vector v of a row of weights, whose second block begins at w1. Words are loaded as floats, whatever they hold. */
SMRI_INLINE floats weights_at(const float *w0, const float *w1, size_t v) {
    const size_t column = v * SMRI_LANES;
    const float *w = column < SMRI_CONV_BLOCK ? w0 + column : w1 + (column - SMRI_CONV_BLOCK);
    return vload(w, 0, SMRI_LANES, SMRI_FP32);
}

/* Adds the products of word d of each row. `rows` and `vectors` are constants at every call, so the loops over them vanish. */
SMRI_INLINE void tile_step(sums_of_rows sum, const void *const *row, size_t d, const float *w0, const float *w1,
                           const size_t rows, const size_t vectors) {
    floats w[VECTORS];
    SMRI_UNROLL_ALL for (size_t v = 0; v < vectors; v++) w[v] = weights_at(w0, w1, v);
    SMRI_UNROLL_ALL for (size_t i = 0; i < rows; i++) {
        const floats x = broadcast(row[i], d);
        SMRI_UNROLL_ALL for (size_t v = 0; v < vectors; v++) sum[i][v] = multiply_add(x, w[v], sum[i][v]);
    }
}

/* The epilogue of vector v of all rows, which begins at column `begin` and has n results. */
SMRI_INLINE void store_results(const struct smri_conv_tile *t, sums_of_rows sum, size_t v, size_t begin, const size_t n,
                               const size_t rows) {
    if (t->epilogue.scale != NULL) {
        const floats scale = vload(t->epilogue.scale, begin, n, SMRI_FP32);
        const floats shift = vload(t->epilogue.shift, begin, n, SMRI_FP32);
        SMRI_UNROLL_ALL for (size_t i = 0; i < rows; i++) sum[i][v] = vfma(scale, sum[i][v], shift);
    }
    const bool whole_lines = SMRI_IGEMM_PRECISION == SMRI_FP32 && begin / LINE * LINE + LINE <= t->cols;
    const bool streamed = t->streamed && !t->accumulate && whole_lines;
    const floats floor = vset1(t->epilogue.relu ? 0.0f : -INFINITY);
    if (t->accumulate)
        SMRI_UNROLL_ALL for (size_t i = 0; i < rows; i++)
            sum[i][v] = sum[i][v] + vload(t->out[i], begin, n, SMRI_IGEMM_PRECISION);
    SMRI_UNROLL_ALL for (size_t i = 0; i < rows; i++) {
        sum[i][v] = vmax(floor, sum[i][v]); /* the second one when it is NaN */
        if (streamed && n == SMRI_LANES && (uintptr_t)t->out[i] % 64 == 0)
            vstore_nt(t->out[i], begin, sum[i][v], SMRI_IGEMM_PRECISION);
        else vstore(t->out[i], begin, sum[i][v], n, SMRI_IGEMM_PRECISION);
    }
}

SMRI_INLINE void tile_pass(const struct smri_conv_tile *t, size_t column, const size_t rows, const size_t vectors) {
    sums_of_rows sum;
    SMRI_UNROLL_ALL for (size_t i = 0; i < rows; i++)
        SMRI_UNROLL_ALL for (size_t v = 0; v < vectors; v++) {
            sum[i][v] = vset1(0.0f);
            if (ONE_PASS && !(t->streamed && !t->accumulate))
                __builtin_prefetch(smri_elem_const(t->out[i], v * SMRI_LANES, SMRI_IGEMM_PRECISION), 1);
        }
    const float *first = (const float *)t->weights + column / SMRI_CONV_BLOCK * t->block_stride + column % SMRI_CONV_BLOCK;
    for (size_t tap = 0; tap < t->n_taps; tap++) {
        const void *row[SMRI_CONV_ROWS];
        SMRI_UNROLL_ALL for (size_t i = 0; i < rows; i++) row[i] = t->taps[tap].rows[i];
        const float *w0 = first + t->taps[tap].weights, *w1 = w0 + t->block_stride;
        size_t left = t->depth / NUMBERS;
        for (; left >= STEPS; left -= STEPS, w0 += STEPS * SMRI_CONV_BLOCK, w1 += STEPS * SMRI_CONV_BLOCK) {
            if (t->prefetch_rate > 0) smri_prefetch_advance(t->prefetch, t->prefetch_rate);
            SMRI_UNROLL_DEPTH for (size_t d = 0; d < STEPS; d++)
                tile_step(sum, row, d, w0 + d * SMRI_CONV_BLOCK, w1 + d * SMRI_CONV_BLOCK, rows, vectors);
            SMRI_UNROLL_ALL for (size_t i = 0; i < rows; i++) row[i] = (const uint32_t *)row[i] + STEPS;
        }
        SMRI_NO_UNROLL for (size_t d = 0; d < left; d++, w0 += SMRI_CONV_BLOCK, w1 += SMRI_CONV_BLOCK)
            tile_step(sum, row, d, w0, w1, rows, vectors);
        if (t->depth % NUMBERS == 0) continue;
        SMRI_UNROLL_ALL for (size_t i = 0; i < rows; i++) {
            const floats x = broadcast_last(row[i], NUMBERS * left);
            SMRI_UNROLL_ALL for (size_t v = 0; v < vectors; v++)
                sum[i][v] = multiply_add(x, weights_at(w0, w1, v), sum[i][v]);
        }
    }
    SMRI_UNROLL_ALL for (size_t v = 0; v < vectors; v++) {
        const size_t begin = column + v * SMRI_LANES;
        if (begin + SMRI_LANES <= t->cols) store_results(t, sum, v, begin, SMRI_LANES, rows);
        else if (begin < t->cols) store_results(t, sum, v, begin, t->cols - begin, rows);
    }
}

/* `vectors` is half of them for a single block of columns where a pass has two. */
SMRI_INLINE void tile_rows(const struct smri_conv_tile *t, size_t column, const size_t vectors) {
    switch (t->rows) {
    case 1: tile_pass(t, column, 1, vectors); break;
    case 2: tile_pass(t, column, 2, vectors); break;
    case 3: tile_pass(t, column, 3, vectors); break;
    case 4: tile_pass(t, column, 4, vectors); break;
    case 5: tile_pass(t, column, 5, vectors); break;
    case 6: tile_pass(t, column, 6, vectors); break;
    }
}

static void tile(const struct smri_conv_tile *t) {
    if (ONE_PASS && t->cols <= SMRI_CONV_BLOCK) tile_rows(t, 0, VECTORS / 2);
    else
        for (size_t column = 0; column < (ONE_PASS ? 1 : t->cols); column += PASS) tile_rows(t, column, VECTORS);
}

SMRI_INLINE void gemm_tn_step(sums_of_rows sum, const void *a, const float *b, const size_t rows, const size_t vectors) {
    floats w[VECTORS];
    SMRI_UNROLL_ALL for (size_t v = 0; v < vectors; v++) w[v] = vload(b, v * SMRI_LANES, SMRI_LANES, SMRI_FP32);
    SMRI_UNROLL_ALL for (size_t i = 0; i < rows; i++) {
        const floats x = broadcast(a, i);
        SMRI_UNROLL_ALL for (size_t v = 0; v < vectors; v++) sum[i][v] = multiply_add(x, w[v], sum[i][v]);
    }
}

/* Vector v of a row of gradients, which begins at `row`. A pass of less than a block stays inside one. */
SMRI_INLINE float *gradient_at(const struct smri_gemm_tn *o, float *row, size_t v) {
    return row + v * SMRI_LANES / SMRI_CONV_BLOCK * o->block_stride + v * SMRI_LANES % SMRI_CONV_BLOCK;
}

SMRI_INLINE void gemm_tn_pass(const struct smri_gemm_tn *o, size_t column, const size_t rows, const size_t vectors) {
    float *out = o->out + column / SMRI_CONV_BLOCK * o->block_stride + column % SMRI_CONV_BLOCK;
    sums_of_rows sum;
    SMRI_UNROLL_ALL for (size_t i = 0; i < rows; i++)
        SMRI_UNROLL_ALL for (size_t v = 0; v < vectors; v++) {
            sum[i][v] = vset1(0.0f);
            if (ONE_PASS) __builtin_prefetch(gradient_at(o, out + i * SMRI_CONV_BLOCK, v), 1);
        }
    const float *a = o->a, *b = (const float *)o->b + column;
    const size_t ldb = ONE_PASS ? vectors * SMRI_LANES : o->blocks * SMRI_CONV_BLOCK;
    size_t m = 0;
    for (; m + STEPS <= o->depth; m += STEPS) {
        if (o->prefetch_rate > 0) smri_prefetch_advance(o->prefetch, o->prefetch_rate);
        SMRI_UNROLL_DEPTH for (size_t k = 0; k < STEPS; k++, a += o->lda, b += ldb) gemm_tn_step(sum, a, b, rows, vectors);
    }
    SMRI_NO_UNROLL for (; m < o->depth; m++, a += o->lda, b += ldb) gemm_tn_step(sum, a, b, rows, vectors);
    SMRI_UNROLL_ALL for (size_t i = 0; i < rows; i++, out += SMRI_CONV_BLOCK)
        SMRI_UNROLL_ALL for (size_t v = 0; v < vectors; v++) {
            float *at = gradient_at(o, out, v);
            if (o->accumulate) sum[i][v] = sum[i][v] + vload(at, 0, SMRI_LANES, SMRI_FP32);
            vstore(at, 0, sum[i][v], SMRI_LANES, SMRI_FP32);
        }
}

SMRI_INLINE void gemm_tn_rows(const struct smri_gemm_tn *o, size_t column, const size_t vectors) {
    switch (o->rows) {
    case 1: gemm_tn_pass(o, column, 1, vectors); break;
    case 2: gemm_tn_pass(o, column, 2, vectors); break;
    case 3: gemm_tn_pass(o, column, 3, vectors); break;
    case 4: gemm_tn_pass(o, column, 4, vectors); break;
    case 5: gemm_tn_pass(o, column, 5, vectors); break;
    case 6: gemm_tn_pass(o, column, 6, vectors); break;
    }
}

static void gemm_tn(const struct smri_gemm_tn *o) {
    if (ONE_PASS && o->blocks == 1) gemm_tn_rows(o, 0, VECTORS / 2);
    else
        for (size_t column = 0; column < (ONE_PASS ? 1 : o->blocks * SMRI_CONV_BLOCK); column += PASS)
            gemm_tn_rows(o, column, VECTORS);
}
