/* The convolution kernels for NEON: as igemm_avx2.c, a tile of 6 x 64 in four passes of 6 x 16, here with 24 accumulators of
 * four floats, 4 vectors of weights and 1 broadcast in the 32 registers. Every sum has AVX2's order, and so its bits. */
#if defined(__aarch64__)
#include <arm_neon.h>
#include <math.h>
#include <string.h>

#include "kernels/conv/igemm.h"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL_ALL _Pragma("GCC unroll 8")
#define STEPS 16 /* between two requests for memory ahead, as in AVX2 */
#define PASS 16  /* columns of one pass */
#define VECTORS (PASS / 4)

INLINE float32x4_t load_some(const float *p, size_t n) {
    float lanes[4] = {0};
    memcpy(lanes, p, n * sizeof *lanes);
    return vld1q_f32(lanes);
}

INLINE void store_some(float *p, float32x4_t v, size_t n) {
    float lanes[4];
    vst1q_f32(lanes, v);
    memcpy(p, lanes, n * sizeof *lanes);
}

/* Adds x[i] times a row of weights; x is every row's number, `stride` apart. */
INLINE void add_products(float32x4_t sum[SMRI_CONV_ROWS][VECTORS], const float *const *x, const float *w, const size_t rows) {
    float32x4_t weights[VECTORS];
    UNROLL_ALL for (size_t v = 0; v < VECTORS; v++) weights[v] = vld1q_f32(w + 4 * v);
    UNROLL_ALL for (size_t i = 0; i < rows; i++)
        UNROLL_ALL for (size_t v = 0; v < VECTORS; v++) sum[i][v] = vfmaq_n_f32(sum[i][v], weights[v], *x[i]);
}

INLINE void tile_pass(const struct smri_conv_tile *t, const size_t rows, size_t column) {
    float32x4_t sum[SMRI_CONV_ROWS][VECTORS];
    UNROLL_ALL for (size_t i = 0; i < rows; i++)
        UNROLL_ALL for (size_t v = 0; v < VECTORS; v++) sum[i][v] = vdupq_n_f32(0.0f);
    const float *weights = (const float *)t->weights + column / SMRI_CONV_BLOCK * t->block_stride + column % SMRI_CONV_BLOCK;
    for (size_t tap = 0; tap < t->n_taps; tap++) {
        const float *row[SMRI_CONV_ROWS], *w = weights + t->taps[tap].weights;
        UNROLL_ALL for (size_t i = 0; i < rows; i++) row[i] = t->taps[tap].rows[i];
        for (size_t d = 0; d < t->depth; d++, w += SMRI_CONV_BLOCK) {
            if (t->prefetch_rate > 0 && d % STEPS == 0) smri_prefetch_advance(t->prefetch, t->prefetch_rate);
            add_products(sum, row, w, rows);
            UNROLL_ALL for (size_t i = 0; i < rows; i++) row[i]++;
        }
    }
    const float32x4_t floor = vdupq_n_f32(t->epilogue.relu ? 0.0f : -INFINITY);
    UNROLL_ALL for (size_t v = 0; v < VECTORS; v++) {
        const size_t begin = column + 4 * v, left = t->cols > begin ? t->cols - begin : 0, n = left < 4 ? left : 4;
        if (n == 0) continue;
        if (t->epilogue.scale != NULL) {
            const float32x4_t scale = load_some(t->epilogue.scale + begin, n), shift = load_some(t->epilogue.shift + begin, n);
            UNROLL_ALL for (size_t i = 0; i < rows; i++) sum[i][v] = vfmaq_f32(shift, scale, sum[i][v]);
        }
        UNROLL_ALL for (size_t i = 0; i < rows; i++) {
            float *out = (float *)t->out[i] + begin;
            if (t->accumulate) sum[i][v] = vaddq_f32(sum[i][v], load_some(out, n));
            store_some(out, vbslq_f32(vcgtq_f32(floor, sum[i][v]), floor, sum[i][v]), n); /* a NaN stays */
        }
    }
}

static void tile_neon(const struct smri_conv_tile *t) {
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

INLINE void gemm_tn_pass(const struct smri_gemm_tn *o, const size_t rows, size_t column) {
    float32x4_t sum[SMRI_CONV_ROWS][VECTORS];
    UNROLL_ALL for (size_t i = 0; i < rows; i++)
        UNROLL_ALL for (size_t v = 0; v < VECTORS; v++) sum[i][v] = vdupq_n_f32(0.0f);
    const float *a = o->a, *b = (const float *)o->b + column;
    for (size_t m = 0; m < o->depth; m++, a += o->lda, b += o->blocks * SMRI_CONV_BLOCK) {
        const float *x[SMRI_CONV_ROWS];
        UNROLL_ALL for (size_t i = 0; i < rows; i++) x[i] = a + i;
        if (o->prefetch_rate > 0 && m % STEPS == 0) smri_prefetch_advance(o->prefetch, o->prefetch_rate);
        add_products(sum, x, b, rows);
    }
    float *out = o->out + column / SMRI_CONV_BLOCK * o->block_stride + column % SMRI_CONV_BLOCK;
    UNROLL_ALL for (size_t i = 0; i < rows; i++, out += SMRI_CONV_BLOCK)
        UNROLL_ALL for (size_t v = 0; v < VECTORS; v++) {
            if (o->accumulate) sum[i][v] = vaddq_f32(sum[i][v], vld1q_f32(out + 4 * v));
            vst1q_f32(out + 4 * v, sum[i][v]);
        }
}

static void gemm_tn_neon(const struct smri_gemm_tn *o) {
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

void smri_conv_kernels_neon(struct smri_conv_kernels *kernels) {
    kernels->tile = tile_neon;
    kernels->gemm_tn = gemm_tn_neon;
}
#endif
