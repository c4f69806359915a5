/* The convolution kernels with 512-bit vectors. A tile of 6 x 64 keeps 24 accumulators, 4 vectors of weights and 1
 * broadcast in the 32 registers. On a core with two 512-bit multiply-add ports the two loads a cycle are not free: 10
 * loads for 24 multiply-adds reach 92 % of the arithmetic peak from the first-level cache where 8 x 32 (10 loads for 16)
 * and 14 x 32 (16 for 28) stop at 82 to 86 %. Unrolling by four keeps the loop's own additions off the two ports. */
#include <immintrin.h>

#include "kernels/conv.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define UNROLL_ALL _Pragma("GCC unroll 8")
#define UNROLL_DEPTH _Pragma("GCC unroll 4")
#define UNROLL_16 _Pragma("GCC unroll 16")
#define LANES 16

/* `rows` and `vectors` (2 for each block) are constants at every call, so the loops over them vanish. */
ALWAYS_INLINE void tile_of(const struct smri_conv_tile *t, const size_t rows, const size_t vectors) {
    __m512 sum[SMRI_CONV_ROWS][4];
    UNROLL_ALL for (size_t i = 0; i < rows; i++)
        UNROLL_ALL for (size_t v = 0; v < vectors; v++) {
            sum[i][v] = _mm512_setzero_ps();
            _mm_prefetch((const char *)(t->out[i] + v * LANES), _MM_HINT_ET0);
        }
    for (size_t tap = 0; tap < t->n_taps; tap++) {
        const float *row[SMRI_CONV_ROWS];
        UNROLL_ALL for (size_t i = 0; i < rows; i++) row[i] = t->taps[tap].rows[i];
        const float *w0 = t->weights + t->taps[tap].weights, *w1 = w0 + t->block_stride;
        UNROLL_DEPTH for (size_t d = 0; d < t->depth; d++) {
            __m512 w[4];
            w[0] = _mm512_loadu_ps(w0 + d * SMRI_CONV_BLOCK), w[1] = _mm512_loadu_ps(w0 + d * SMRI_CONV_BLOCK + LANES);
            if (vectors == 4)
                w[2] = _mm512_loadu_ps(w1 + d * SMRI_CONV_BLOCK), w[3] = _mm512_loadu_ps(w1 + d * SMRI_CONV_BLOCK + LANES);
            UNROLL_ALL for (size_t i = 0; i < rows; i++) {
                const __m512 x = _mm512_set1_ps(row[i][d]);
                UNROLL_ALL for (size_t v = 0; v < vectors; v++) sum[i][v] = _mm512_fmadd_ps(x, w[v], sum[i][v]);
            }
        }
    }
    UNROLL_ALL for (size_t v = 0; v < vectors; v++) {
        const size_t left = t->cols > v * LANES ? t->cols - v * LANES : 0;
        const __mmask16 mask = left >= LANES ? 0xFFFF : (__mmask16)((1u << left) - 1);
        UNROLL_ALL for (size_t i = 0; i < rows; i++) {
            float *out = t->out[i] + v * LANES;
            if (t->accumulate) sum[i][v] = _mm512_add_ps(sum[i][v], _mm512_maskz_loadu_ps(mask, out));
            _mm512_mask_storeu_ps(out, mask, sum[i][v]);
        }
    }
}

static void tile_avx512(const struct smri_conv_tile *t) {
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

ALWAYS_INLINE void outer_of(const struct smri_conv_outer *o, const size_t rows, const size_t vectors) {
    __m512 sum[SMRI_CONV_ROWS][4];
    UNROLL_ALL for (size_t i = 0; i < rows; i++)
        UNROLL_ALL for (size_t v = 0; v < vectors; v++) {
            sum[i][v] = _mm512_setzero_ps();
            _mm_prefetch((const char *)(o->out + v / 2 * o->block_stride + i * SMRI_CONV_BLOCK + v % 2 * LANES), _MM_HINT_ET0);
        }
    const float *a = o->a, *b = o->b;
    UNROLL_DEPTH for (size_t m = 0; m < o->depth; m++, a += o->lda, b += vectors * LANES) {
        __m512 w[4];
        UNROLL_ALL for (size_t v = 0; v < vectors; v++) w[v] = _mm512_loadu_ps(b + v * LANES);
        UNROLL_ALL for (size_t i = 0; i < rows; i++) {
            const __m512 x = _mm512_set1_ps(a[i]);
            UNROLL_ALL for (size_t v = 0; v < vectors; v++) sum[i][v] = _mm512_fmadd_ps(x, w[v], sum[i][v]);
        }
    }
    UNROLL_ALL for (size_t v = 0; v < vectors; v++)
        UNROLL_ALL for (size_t i = 0; i < rows; i++) {
            float *out = o->out + v / 2 * o->block_stride + i * SMRI_CONV_BLOCK + v % 2 * LANES;
            if (o->accumulate) sum[i][v] = _mm512_add_ps(sum[i][v], _mm512_loadu_ps(out));
            _mm512_storeu_ps(out, sum[i][v]);
        }
}

static void outer_avx512(const struct smri_conv_outer *o) {
    const bool wide = o->blocks == 2;
    switch (o->rows) {
    case 1: wide ? outer_of(o, 1, 4) : outer_of(o, 1, 2); break;
    case 2: wide ? outer_of(o, 2, 4) : outer_of(o, 2, 2); break;
    case 3: wide ? outer_of(o, 3, 4) : outer_of(o, 3, 2); break;
    case 4: wide ? outer_of(o, 4, 4) : outer_of(o, 4, 2); break;
    case 5: wide ? outer_of(o, 5, 4) : outer_of(o, 5, 2); break;
    case 6: wide ? outer_of(o, 6, 4) : outer_of(o, 6, 2); break;
    }
}

/* 16 x 16 in registers: pairs of rows are interleaved by 1, 2, 4 and 8 lanes. */
ALWAYS_INLINE void transpose16(__m512 r[16]) {
    __m512 t[16];
    UNROLL_16 for (size_t i = 0; i < 16; i += 2)
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]), t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    UNROLL_16 for (size_t i = 0; i < 16; i += 4)
        for (size_t j = 0; j < 2; j++) {
            const __m512d a = _mm512_castps_pd(t[i + j]), b = _mm512_castps_pd(t[i + j + 2]);
            r[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            r[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        }
    UNROLL_16 for (size_t i = 0; i < 16; i += 8)
        for (size_t j = 0; j < 4; j++) {
            t[i + j] = _mm512_shuffle_f32x4(r[i + j], r[i + j + 4], 0x88);
            t[i + j + 4] = _mm512_shuffle_f32x4(r[i + j], r[i + j + 4], 0xDD);
        }
    UNROLL_16 for (size_t j = 0; j < 8; j++) {
        r[j] = _mm512_shuffle_f32x4(t[j], t[j + 8], 0x88);
        r[j + 8] = _mm512_shuffle_f32x4(t[j], t[j + 8], 0xDD);
    }
}

static void transpose_avx512(float *out, const float *in, size_t rows, size_t cols) {
    for (size_t j = 0; j < cols; j += LANES)
        for (size_t i = 0; i < SMRI_CONV_BLOCK; i += LANES) {
            __m512 r[16];
            UNROLL_16 for (size_t k = 0; k < 16; k++)
                r[k] = i + k < rows ? _mm512_loadu_ps(in + (i + k) * SMRI_CONV_BLOCK + j) : _mm512_setzero_ps();
            transpose16(r);
            UNROLL_16 for (size_t k = 0; k < 16; k++)
                if (j + k < cols) _mm512_storeu_ps(out + (j + k) * SMRI_CONV_BLOCK + i, r[k]);
        }
}

ALWAYS_INLINE void copy_row(float *restrict out, const float *restrict in, size_t n) {
    size_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        const __m512 a = _mm512_loadu_ps(in + i), b = _mm512_loadu_ps(in + i + LANES);
        const __m512 c = _mm512_loadu_ps(in + i + 2 * LANES), d = _mm512_loadu_ps(in + i + 3 * LANES);
        _mm512_storeu_ps(out + i, a), _mm512_storeu_ps(out + i + LANES, b);
        _mm512_storeu_ps(out + i + 2 * LANES, c), _mm512_storeu_ps(out + i + 3 * LANES, d);
    }
    for (; i < n; i += LANES) {
        const __mmask16 mask = n - i >= LANES ? 0xFFFF : (__mmask16)((1u << (n - i)) - 1);
        _mm512_mask_storeu_ps(out + i, mask, _mm512_maskz_loadu_ps(mask, in + i));
    }
}

static void copy_avx512(float *restrict out, size_t out_stride, const float *restrict in, size_t in_stride, size_t rows,
                        size_t n) {
    if (n > LANES) {
        for (size_t r = 0; r < rows; r++) copy_row(out + r * out_stride, in + r * in_stride, n);
        return;
    }
    const __mmask16 mask = (__mmask16)((1u << n) - 1); /* a row of the stem's window is one masked load and store */
    for (size_t r = 0; r < rows; r++, out += out_stride, in += in_stride)
        _mm512_mask_storeu_ps(out, mask, _mm512_maskz_loadu_ps(mask, in));
}

void smri_conv_kernels_avx512(struct smri_conv_kernels *kernels) {
    *kernels = (struct smri_conv_kernels){tile_avx512, outer_avx512, transpose_avx512, copy_avx512};
}
