/* The register tiles with 512-bit vectors, for floats and for pairs of bfloat16 numbers: the including file defines
 *
 *     SMRI_INLINE
 *     SMRI_IGEMM_NUMBERS                             how many numbers along the sum a word of 32 bits holds: 1 or 2
 *     SMRI_IGEMM_OUT_BYTES                           of one result of a tile
 *     broadcast(row, word)                that word of a row in all lanes
 *     broadcast_last(row, number)         the same of a last number without a partner (SMRI_IGEMM_NUMBERS 2)
 *     multiply_add(x, w, sum)             sum + the products of 16 words
 *     put(out, lanes, sum, accumulate, floor, streamed)    16 results of a tile, none below the floor
 *
 * and gets the kernels `tile` and `gemm_tn` of igemm.h. A tile of 6 x 64 keeps 24 accumulators, 4 vectors of weights and 1
 * broadcast in the 32 registers. On a core with two 512-bit multiply-add ports the two loads a cycle are not free: 10
 * loads for 24 multiply-adds reach 92 % of the arithmetic peak from the first-level cache where 8 x 32 (10 loads for 16)
 * and 14 x 32 (16 for 28) stop at 82 to 86 %. Unrolling by four keeps the loop's own additions off the two ports. */
#ifndef SMRI_KERNELS_CONV_IGEMM_LOOPS_AVX512_H
#define SMRI_KERNELS_CONV_IGEMM_LOOPS_AVX512_H

#include <math.h>

#include "kernels/conv/igemm.h"
#include "kernels/lanes_avx512.h"

#define SMRI_UNROLL_ALL _Pragma("GCC unroll 8")
#define SMRI_IGEMM_STEPS 4 /* between two requests for memory ahead */

/* A row of weights: two vectors of each block. Words are loaded as floats, whatever they hold. */
SMRI_INLINE void load_weights(__m512 w[4], const float *block0, const float *block1, const size_t vectors) {
    w[0] = _mm512_loadu_ps(block0), w[1] = _mm512_loadu_ps(block0 + SMRI_LANES);
    if (vectors == 4) w[2] = _mm512_loadu_ps(block1), w[3] = _mm512_loadu_ps(block1 + SMRI_LANES);
}

/* Adds the products of word d of each row. */
SMRI_INLINE void tile_step(__m512 sum[SMRI_CONV_ROWS][4], const void *const *row, size_t d, const float *w0, const float *w1,
                             const size_t rows, const size_t vectors) {
    __m512 w[4];
    load_weights(w, w0, w1, vectors);
    SMRI_UNROLL_ALL for (size_t i = 0; i < rows; i++) {
        const __m512 x = broadcast(row[i], d);
        SMRI_UNROLL_ALL for (size_t v = 0; v < vectors; v++) sum[i][v] = multiply_add(x, w[v], sum[i][v]);
    }
}

/* `rows` and `vectors` (2 for each block) are constants at every call, so the loops over them vanish. */
SMRI_INLINE void tile_of(const struct smri_conv_tile *t, const size_t rows, const size_t vectors) {
    const bool streamed = t->streamed && !t->accumulate;
    __m512 sum[SMRI_CONV_ROWS][4];
    SMRI_UNROLL_ALL for (size_t i = 0; i < rows; i++)
        SMRI_UNROLL_ALL for (size_t v = 0; v < vectors; v++) {
            sum[i][v] = _mm512_setzero_ps();
            if (!streamed) _mm_prefetch((const char *)t->out[i] + v * SMRI_LANES * SMRI_IGEMM_OUT_BYTES, _MM_HINT_ET0);
        }
    for (size_t tap = 0; tap < t->n_taps; tap++) {
        const void *row[SMRI_CONV_ROWS];
        SMRI_UNROLL_ALL for (size_t i = 0; i < rows; i++) row[i] = t->taps[tap].rows[i];
        const float *w0 = (const float *)t->weights + t->taps[tap].weights, *w1 = w0 + t->block_stride;
        size_t d = 0;
        for (; d + SMRI_IGEMM_STEPS <= t->depth / SMRI_IGEMM_NUMBERS; d += SMRI_IGEMM_STEPS,
             w0 += SMRI_IGEMM_STEPS * SMRI_CONV_BLOCK, w1 += SMRI_IGEMM_STEPS * SMRI_CONV_BLOCK) {
            if (t->prefetch_rate > 0) smri_prefetch_advance(t->prefetch, t->prefetch_rate);
            SMRI_UNROLL_ALL for (size_t k = 0; k < SMRI_IGEMM_STEPS; k++)
                tile_step(sum, row, d + k, w0 + k * SMRI_CONV_BLOCK, w1 + k * SMRI_CONV_BLOCK, rows, vectors);
        }
        for (; d < t->depth / SMRI_IGEMM_NUMBERS; d++, w0 += SMRI_CONV_BLOCK, w1 += SMRI_CONV_BLOCK)
            tile_step(sum, row, d, w0, w1, rows, vectors);
#if SMRI_IGEMM_NUMBERS == 2
        if (t->depth % 2 == 0) continue;
        __m512 w[4];
        load_weights(w, w0, w1, vectors);
        SMRI_UNROLL_ALL for (size_t i = 0; i < rows; i++) {
            const __m512 x = broadcast_last(row[i], t->depth - 1);
            SMRI_UNROLL_ALL for (size_t v = 0; v < vectors; v++) sum[i][v] = multiply_add(x, w[v], sum[i][v]);
        }
#endif
    }
    const __m512 floor = _mm512_set1_ps(t->epilogue.relu ? 0.0f : -INFINITY);
    SMRI_UNROLL_ALL for (size_t v = 0; v < vectors; v++) {
        const size_t left = t->cols > v * SMRI_LANES ? t->cols - v * SMRI_LANES : 0;
        const __mmask16 lanes = left >= SMRI_LANES ? 0xFFFF : (__mmask16)((1u << left) - 1);
        if (t->epilogue.scale != NULL) {
            const __m512 scale = _mm512_maskz_loadu_ps(lanes, t->epilogue.scale + v * SMRI_LANES);
            const __m512 shift = _mm512_maskz_loadu_ps(lanes, t->epilogue.shift + v * SMRI_LANES);
            SMRI_UNROLL_ALL for (size_t i = 0; i < rows; i++) sum[i][v] = _mm512_fmadd_ps(scale, sum[i][v], shift);
        }
        SMRI_UNROLL_ALL for (size_t i = 0; i < rows; i++)
            put((char *)t->out[i] + v * SMRI_LANES * SMRI_IGEMM_OUT_BYTES, lanes, sum[i][v], t->accumulate, floor, streamed);
    }
}

static void tile(const struct smri_conv_tile *t) {
    const bool wide = t->cols > SMRI_CONV_BLOCK;
    switch (t->rows) {
    case 1: wide ? tile_of(t, 1, 4) : tile_of(t, 1, 2); break;
    case 2: wide ? tile_of(t, 2, 4) : tile_of(t, 2, 2); break;
    case 3: wide ? tile_of(t, 3, 4) : tile_of(t, 3, 2); break;
    case 4: wide ? tile_of(t, 4, 4) : tile_of(t, 4, 2); break;
    case 5: wide ? tile_of(t, 5, 4) : tile_of(t, 5, 2); break;
    case 6: wide ? tile_of(t, 6, 4) : tile_of(t, 6, 2); break;
    }
}

SMRI_INLINE void gemm_tn_step(__m512 sum[SMRI_CONV_ROWS][4], const void *a, const float *b, const size_t rows,
                              const size_t vectors) {
    __m512 w[4];
    SMRI_UNROLL_ALL for (size_t v = 0; v < vectors; v++) w[v] = _mm512_loadu_ps(b + v * SMRI_LANES);
    SMRI_UNROLL_ALL for (size_t i = 0; i < rows; i++) {
        const __m512 x = broadcast(a, i);
        SMRI_UNROLL_ALL for (size_t v = 0; v < vectors; v++) sum[i][v] = multiply_add(x, w[v], sum[i][v]);
    }
}

SMRI_INLINE void gemm_tn_of(const struct smri_gemm_tn *o, const size_t rows, const size_t vectors) {
    __m512 sum[SMRI_CONV_ROWS][4];
    SMRI_UNROLL_ALL for (size_t i = 0; i < rows; i++)
        SMRI_UNROLL_ALL for (size_t v = 0; v < vectors; v++) {
            sum[i][v] = _mm512_setzero_ps();
            _mm_prefetch((const char *)(o->out + v / 2 * o->block_stride + i * SMRI_CONV_BLOCK + v % 2 * SMRI_LANES),
                         _MM_HINT_ET0);
        }
    const float *a = o->a, *b = o->b;
    size_t m = 0;
    for (; m + SMRI_IGEMM_STEPS <= o->depth; m += SMRI_IGEMM_STEPS) {
        if (o->prefetch_rate > 0) smri_prefetch_advance(o->prefetch, o->prefetch_rate);
        SMRI_UNROLL_ALL for (size_t i = 0; i < SMRI_IGEMM_STEPS; i++, a += o->lda, b += vectors * SMRI_LANES)
            gemm_tn_step(sum, a, b, rows, vectors);
    }
    for (; m < o->depth; m++, a += o->lda, b += vectors * SMRI_LANES) gemm_tn_step(sum, a, b, rows, vectors);
    SMRI_UNROLL_ALL for (size_t v = 0; v < vectors; v++)
        SMRI_UNROLL_ALL for (size_t i = 0; i < rows; i++) {
            float *out = o->out + v / 2 * o->block_stride + i * SMRI_CONV_BLOCK + v % 2 * SMRI_LANES;
            if (o->accumulate) sum[i][v] = _mm512_add_ps(sum[i][v], _mm512_loadu_ps(out));
            _mm512_storeu_ps(out, sum[i][v]);
        }
}

static void gemm_tn(const struct smri_gemm_tn *o) {
    const bool wide = o->blocks == 2;
    switch (o->rows) {
    case 1: wide ? gemm_tn_of(o, 1, 4) : gemm_tn_of(o, 1, 2); break;
    case 2: wide ? gemm_tn_of(o, 2, 4) : gemm_tn_of(o, 2, 2); break;
    case 3: wide ? gemm_tn_of(o, 3, 4) : gemm_tn_of(o, 3, 2); break;
    case 4: wide ? gemm_tn_of(o, 4, 4) : gemm_tn_of(o, 4, 2); break;
    case 5: wide ? gemm_tn_of(o, 5, 4) : gemm_tn_of(o, 5, 2); break;
    case 6: wide ? gemm_tn_of(o, 6, 4) : gemm_tn_of(o, 6, 2); break;
    }
}

#endif
