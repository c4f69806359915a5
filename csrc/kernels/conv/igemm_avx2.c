/* The convolution kernels with 256-bit vectors: a tile of 6 x 64 is done in four passes of 6 x 16, whose 12 accumulators,
 * 2 vectors of weights and 1 broadcast fill the 16 registers. A pass reads one cache line of each row of weights. */
#include <immintrin.h>
#include <math.h>
#include <stdint.h>

#include "kernels/conv/igemm.h"

#define SMRI_INLINE static inline __attribute__((always_inline))
#define UNROLL_ALL _Pragma("GCC unroll 8")
#define UNROLL_DEPTH _Pragma("GCC unroll 4")
#define SMRI_LANES 8
#define STEPS 16 /* between two requests for memory ahead: four passes ask for as much as one of four steps */
#define PASS 16 /* columns of one pass */

/* Lanes below `left` set. */
static __m256i lane_mask(size_t left) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(left < SMRI_LANES ? (int)left : SMRI_LANES), lanes);
}

/* Adds the products of number d of each row. */
SMRI_INLINE void tile_step(__m256 sum[SMRI_CONV_ROWS][2], const float *const *row, size_t d, const float *w,
                             const size_t rows) {
    const __m256 w0 = _mm256_loadu_ps(w), w1 = _mm256_loadu_ps(w + SMRI_LANES);
    UNROLL_ALL for (size_t i = 0; i < rows; i++) {
        const __m256 x = _mm256_broadcast_ss(row[i] + d);
        sum[i][0] = _mm256_fmadd_ps(x, w0, sum[i][0]);
        sum[i][1] = _mm256_fmadd_ps(x, w1, sum[i][1]);
    }
}

SMRI_INLINE void tile_pass(const struct smri_conv_tile *t, const size_t rows, size_t column) {
    __m256 sum[SMRI_CONV_ROWS][2];
    UNROLL_ALL for (size_t i = 0; i < rows; i++) sum[i][0] = sum[i][1] = _mm256_setzero_ps();
    const float *weights =
        (const float *)t->weights + column / SMRI_CONV_BLOCK * t->block_stride + column % SMRI_CONV_BLOCK;
    for (size_t tap = 0; tap < t->n_taps; tap++) {
        const float *row[SMRI_CONV_ROWS], *w = weights + t->taps[tap].weights;
        UNROLL_ALL for (size_t i = 0; i < rows; i++) row[i] = t->taps[tap].rows[i];
        size_t d = 0;
        for (; d + STEPS <= t->depth; w += STEPS * SMRI_CONV_BLOCK) {
            if (t->prefetch_rate > 0) smri_prefetch_advance(t->prefetch, t->prefetch_rate);
            UNROLL_DEPTH for (size_t k = 0; k < STEPS; k++, d++) tile_step(sum, row, d, w + k * SMRI_CONV_BLOCK, rows);
        }
        for (; d < t->depth; d++, w += SMRI_CONV_BLOCK) tile_step(sum, row, d, w, rows);
    }
    const __m256 floor = _mm256_set1_ps(t->epilogue.relu ? 0.0f : -INFINITY);
    UNROLL_ALL for (size_t v = 0; v < 2; v++) {
        const size_t begin = column + v * SMRI_LANES;
        const __m256i mask = lane_mask(t->cols > begin ? t->cols - begin : 0);
        if (t->epilogue.scale != NULL) {
            const __m256 scale = _mm256_maskload_ps(t->epilogue.scale + begin, mask);
            const __m256 shift = _mm256_maskload_ps(t->epilogue.shift + begin, mask);
            UNROLL_ALL for (size_t i = 0; i < rows; i++) sum[i][v] = _mm256_fmadd_ps(scale, sum[i][v], shift);
        }
        UNROLL_ALL for (size_t i = 0; i < rows; i++) {
            float *out = (float *)t->out[i] + begin;
            if (t->accumulate) sum[i][v] = _mm256_add_ps(sum[i][v], _mm256_maskload_ps(out, mask));
            sum[i][v] = _mm256_max_ps(floor, sum[i][v]); /* the second one when it is NaN */
            if (t->streamed && !t->accumulate && column + PASS <= t->cols && (uintptr_t)(t->out[i]) % 64 == 0)
                _mm256_stream_ps(out, sum[i][v]);
            else if (begin + SMRI_LANES <= t->cols)
                _mm256_storeu_ps(out, sum[i][v]); /* a masked one is slow on AMD */
            else
                _mm256_maskstore_ps(out, mask, sum[i][v]);
        }
    }
}

static void tile_avx2(const struct smri_conv_tile *t) {
    for (size_t column = 0; column < t->cols; column += PASS) {
        switch (t->rows) {
        case 1: tile_pass(t, 1, column); break;
        case 2: tile_pass(t, 2, column); break;
        case 3: tile_pass(t, 3, column); break;
        case 4: tile_pass(t, 4, column); break;
        case 5: tile_pass(t, 5, column); break;
        case 6: tile_pass(t, 6, column); break;
        }
    }
}

static void store_fence_avx2(void) { _mm_sfence(); }

SMRI_INLINE void gemm_tn_step(__m256 sum[SMRI_CONV_ROWS][2], const float *a, const float *b, const size_t rows) {
    const __m256 b0 = _mm256_loadu_ps(b), b1 = _mm256_loadu_ps(b + SMRI_LANES);
    UNROLL_ALL for (size_t i = 0; i < rows; i++) {
        const __m256 x = _mm256_broadcast_ss(a + i);
        sum[i][0] = _mm256_fmadd_ps(x, b0, sum[i][0]);
        sum[i][1] = _mm256_fmadd_ps(x, b1, sum[i][1]);
    }
}

SMRI_INLINE void gemm_tn_pass(const struct smri_gemm_tn *o, const size_t rows, size_t column) {
    __m256 sum[SMRI_CONV_ROWS][2];
    UNROLL_ALL for (size_t i = 0; i < rows; i++) sum[i][0] = sum[i][1] = _mm256_setzero_ps();
    const float *a = o->a, *b = (const float *)o->b + column;
    const size_t ldb = o->blocks * SMRI_CONV_BLOCK;
    size_t m = 0;
    for (; m + STEPS <= o->depth; m += STEPS) {
        if (o->prefetch_rate > 0) smri_prefetch_advance(o->prefetch, o->prefetch_rate);
        UNROLL_DEPTH for (size_t i = 0; i < STEPS; i++, a += o->lda, b += ldb) gemm_tn_step(sum, a, b, rows);
    }
    for (; m < o->depth; m++, a += o->lda, b += ldb) gemm_tn_step(sum, a, b, rows);
    float *out = o->out + column / SMRI_CONV_BLOCK * o->block_stride + column % SMRI_CONV_BLOCK;
    UNROLL_ALL for (size_t i = 0; i < rows; i++, out += SMRI_CONV_BLOCK)
        UNROLL_ALL for (size_t v = 0; v < 2; v++) {
            if (o->accumulate) sum[i][v] = _mm256_add_ps(sum[i][v], _mm256_loadu_ps(out + v * SMRI_LANES));
            _mm256_storeu_ps(out + v * SMRI_LANES, sum[i][v]);
        }
}

static void gemm_tn_avx2(const struct smri_gemm_tn *o) {
    for (size_t column = 0; column < o->blocks * SMRI_CONV_BLOCK; column += PASS) {
        switch (o->rows) {
        case 1: gemm_tn_pass(o, 1, column); break;
        case 2: gemm_tn_pass(o, 2, column); break;
        case 3: gemm_tn_pass(o, 3, column); break;
        case 4: gemm_tn_pass(o, 4, column); break;
        case 5: gemm_tn_pass(o, 5, column); break;
        case 6: gemm_tn_pass(o, 6, column); break;
        }
    }
}

/* 8 x 8 in registers: rows are interleaved by 1, 2 and 4 lanes. */
SMRI_INLINE void transpose8(__m256 r[8]) {
    __m256 t[8];
    UNROLL_ALL for (size_t i = 0; i < 8; i += 2)
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]), t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    UNROLL_ALL for (size_t i = 0; i < 8; i += 4)
        for (size_t j = 0; j < 2; j++) {
            r[i + 2 * j] = _mm256_shuffle_ps(t[i + j], t[i + j + 2], 0x44);
            r[i + 2 * j + 1] = _mm256_shuffle_ps(t[i + j], t[i + j + 2], 0xEE);
        }
    UNROLL_ALL for (size_t j = 0; j < 4; j++) {
        t[j] = _mm256_permute2f128_ps(r[j], r[j + 4], 0x20);
        t[j + 4] = _mm256_permute2f128_ps(r[j], r[j + 4], 0x31);
    }
    UNROLL_ALL for (size_t j = 0; j < 8; j++) r[j] = t[j];
}

static void transpose_avx2(float *out, const float *in, size_t rows, size_t cols) {
    for (size_t j = 0; j < cols; j += SMRI_LANES)
        for (size_t i = 0; i < SMRI_CONV_BLOCK; i += SMRI_LANES) {
            __m256 r[8];
            UNROLL_ALL for (size_t k = 0; k < 8; k++)
                r[k] = i + k < rows ? _mm256_loadu_ps(in + (i + k) * SMRI_CONV_BLOCK + j) : _mm256_setzero_ps();
            transpose8(r);
            UNROLL_ALL for (size_t k = 0; k < 8; k++)
                if (j + k < cols) _mm256_storeu_ps(out + (j + k) * SMRI_CONV_BLOCK + i, r[k]);
        }
}

SMRI_INLINE void copy_row(float *restrict out, const float *restrict in, size_t n) {
    size_t i = 0;
    for (; i + 2 * SMRI_LANES <= n; i += 2 * SMRI_LANES) {
        const __m256 a = _mm256_loadu_ps(in + i), b = _mm256_loadu_ps(in + i + SMRI_LANES);
        _mm256_storeu_ps(out + i, a), _mm256_storeu_ps(out + i + SMRI_LANES, b);
    }
    for (; i < n; i += SMRI_LANES) {
        const __m256i mask = lane_mask(n - i);
        _mm256_maskstore_ps(out + i, mask, _mm256_maskload_ps(in + i, mask));
    }
}

static void copy_avx2(float *restrict out, size_t out_stride, const float *restrict in, size_t in_stride, size_t rows,
                      size_t n) {
    if (n > SMRI_LANES) {
        for (size_t r = 0; r < rows; r++) copy_row(out + r * out_stride, in + r * in_stride, n);
        return;
    }
    const __m256i mask = lane_mask(n); /* a row of the stem's window is one masked load and store */
    for (size_t r = 0; r < rows; r++, out += out_stride, in += in_stride)
        _mm256_maskstore_ps(out, mask, _mm256_maskload_ps(in, mask));
}

void smri_conv_kernels_avx2(struct smri_conv_kernels *kernels) {
    *kernels = (struct smri_conv_kernels){tile_avx2, gemm_tn_avx2, store_fence_avx2, transpose_avx2, copy_avx2};
}
