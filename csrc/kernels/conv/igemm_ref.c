/* The convolution kernels in portable C, on floats and on pairs of bfloat16 numbers: what the vector variants are
 * compared with. */
#include "kernels/conv/bf16_dot2.h"
#include "kernels/conv/igemm.h"
#include "kernels/elem.h"

/* Number `part` of word i: of a pair, 0 or 1; of a float, 0. */
static inline float part_of(const void *words, size_t i, size_t part, enum smri_precision precision) {
    if (precision == SMRI_FP32) return ((const float *)words)[i];
    return smri_bf16_to_float((smri_bf16)(((const uint32_t *)words)[i] >> 16 * part));
}

static inline void tile(const struct smri_conv_tile *t, enum smri_precision precision) {
    const size_t parts = precision == SMRI_BF16 ? 2 : 1;
    for (size_t i = 0; i < t->rows; i++)
        for (size_t j = 0; j < t->cols; j++) {
            float sum = 0.0f;
            for (size_t tap = 0; tap < t->n_taps; tap++) {
                const size_t first = t->taps[tap].weights + j / SMRI_CONV_BLOCK * t->block_stride + j % SMRI_CONV_BLOCK;
                for (size_t d = 0; d < t->depth; d++)
                    sum += number_at(t->taps[tap].rows[i], d, precision) *
                           part_of(t->weights, first + d / parts * SMRI_CONV_BLOCK, d % parts, precision);
            }
            if (t->epilogue.scale != NULL) sum = t->epilogue.scale[j] * sum + t->epilogue.shift[j];
            if (t->accumulate) sum += number_at(t->out[i], j, precision);
            set_number(t->out[i], j, t->epilogue.relu && sum < 0.0f ? 0.0f : sum, precision);
        }
}

static inline void gemm_tn(const struct smri_gemm_tn *o, enum smri_precision precision) {
    const size_t cols = o->blocks * SMRI_CONV_BLOCK, parts = precision == SMRI_BF16 ? 2 : 1;
    for (size_t i = 0; i < o->rows; i++)
        for (size_t j = 0; j < cols; j++) {
            float sum = 0.0f;
            for (size_t m = 0; m < o->depth; m++)
                for (size_t part = 0; part < parts; part++)
                    sum += part_of(o->a, m * o->lda + i, part, precision) *
                           part_of(o->b, m * cols + j, part, precision);
            float *out = o->out + j / SMRI_CONV_BLOCK * o->block_stride + i * SMRI_CONV_BLOCK + j % SMRI_CONV_BLOCK;
            *out = o->accumulate ? *out + sum : sum;
        }
}

SMRI_BOTH_PRECISIONS(tile, (const struct smri_conv_tile *t), t)
SMRI_BOTH_PRECISIONS(gemm_tn, (const struct smri_gemm_tn *o), o)

static void transpose(float *out, const float *in, size_t rows, size_t cols) {
    for (size_t j = 0; j < cols; j++)
        for (size_t i = 0; i < SMRI_CONV_BLOCK; i++)
            out[j * SMRI_CONV_BLOCK + i] = i < rows ? in[i * SMRI_CONV_BLOCK + j] : 0.0f;
}

static void copy_fp32(float *restrict out, size_t out_stride, const float *restrict in, size_t in_stride, size_t rows,
                      size_t n) {
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++) out[r * out_stride + i] = in[r * in_stride + i];
}

static void copy_bf16(smri_bf16 *restrict out, size_t out_stride, const smri_bf16 *restrict in, size_t in_stride,
                      size_t rows, size_t n) {
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++) out[r * out_stride + i] = in[r * in_stride + i];
}

static uint32_t pair(smri_bf16 even, smri_bf16 odd) { return (uint32_t)odd << 16 | even; }

static void weights(uint32_t *out, const float *in, size_t rows) {
    for (size_t d = 0; d < rows; d += 2)
        for (size_t i = 0; i < SMRI_CONV_BLOCK; i++) {
            const float *even = in + d * SMRI_CONV_BLOCK + i;
            const smri_bf16 odd = d + 1 < rows ? smri_bf16_from_float(even[SMRI_CONV_BLOCK]) : 0;
            *out++ = pair(smri_bf16_from_float(*even), odd);
        }
}

static void interleave(uint32_t *out, const smri_bf16 *even, const smri_bf16 *odd, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = pair(even != NULL ? even[i] : 0, odd != NULL ? odd[i] : 0);
}

void smri_conv_kernels_ref(struct smri_conv_kernels *kernels) {
    *kernels = (struct smri_conv_kernels){tile_fp32, gemm_tn_fp32, transpose, copy_fp32};
}

void smri_bf16_dot2_kernels_ref(struct smri_bf16_dot2_kernels *kernels) {
    *kernels = (struct smri_bf16_dot2_kernels){tile_bf16, gemm_tn_bf16, weights, interleave, copy_bf16};
}
