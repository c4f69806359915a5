/* The convolution kernels in portable C: what the vector variants are compared with. */
#include "kernels/conv/igemm.h"

static void tile_ref(const struct smri_conv_tile *t) {
    for (size_t i = 0; i < t->rows; i++)
        for (size_t j = 0; j < t->cols; j++) {
            float sum = 0.0f;
            for (size_t tap = 0; tap < t->n_taps; tap++) {
                const float *row = t->taps[tap].rows[i];
                const float *column = (const float *)t->weights + t->taps[tap].weights +
                                      j / SMRI_CONV_BLOCK * t->block_stride + j % SMRI_CONV_BLOCK;
                for (size_t d = 0; d < t->depth; d++) sum += row[d] * column[d * SMRI_CONV_BLOCK];
            }
            float *out = (float *)t->out[i] + j;
            if (t->epilogue.scale != NULL) sum = t->epilogue.scale[j] * sum + t->epilogue.shift[j];
            if (t->accumulate) sum += *out;
            *out = t->epilogue.relu && sum < 0.0f ? 0.0f : sum;
        }
}

static void store_fence_ref(void) {}

static void gemm_tn_ref(const struct smri_gemm_tn *o) {
    const size_t cols = o->blocks * SMRI_CONV_BLOCK;
    const float *a = o->a, *b = o->b;
    for (size_t i = 0; i < o->rows; i++)
        for (size_t j = 0; j < cols; j++) {
            float sum = 0.0f;
            for (size_t m = 0; m < o->depth; m++) sum += a[m * o->lda + i] * b[m * cols + j];
            float *out = o->out + j / SMRI_CONV_BLOCK * o->block_stride + i * SMRI_CONV_BLOCK + j % SMRI_CONV_BLOCK;
            *out = o->accumulate ? *out + sum : sum;
        }
}

static void transpose_ref(float *out, const float *in, size_t rows, size_t cols) {
    for (size_t j = 0; j < cols; j++)
        for (size_t i = 0; i < SMRI_CONV_BLOCK; i++)
            out[j * SMRI_CONV_BLOCK + i] = i < rows ? in[i * SMRI_CONV_BLOCK + j] : 0.0f;
}

static void copy_ref(float *restrict out, size_t out_stride, const float *restrict in, size_t in_stride, size_t rows,
                     size_t n) {
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++) out[r * out_stride + i] = in[r * in_stride + i];
}

void smri_conv_kernels_ref(struct smri_conv_kernels *kernels) {
    *kernels = (struct smri_conv_kernels){tile_ref, gemm_tn_ref, store_fence_ref, transpose_ref, copy_ref};
}
