/* The kernels on pairs in portable C: what the vector variants are compared with. */
#include "kernels/conv/bf16_dot2.h"

static float low(uint32_t word) { return smri_bf16_to_float((smri_bf16)word); }
static float high(uint32_t word) { return smri_bf16_to_float((smri_bf16)(word >> 16)); }

static void tile_ref(const struct smri_conv_tile *t) {
    for (size_t i = 0; i < t->rows; i++)
        for (size_t j = 0; j < t->cols; j++) {
            float sum = 0.0f;
            for (size_t tap = 0; tap < t->n_taps; tap++) {
                const smri_bf16 *row = t->taps[tap].rows[i];
                const uint32_t *column = (const uint32_t *)t->weights + t->taps[tap].weights +
                                         j / SMRI_CONV_BLOCK * t->block_stride + j % SMRI_CONV_BLOCK;
                for (size_t d = 0; d < t->depth; d++) {
                    const uint32_t word = column[d / 2 * SMRI_CONV_BLOCK];
                    sum += smri_bf16_to_float(row[d]) * (d % 2 == 0 ? low(word) : high(word));
                }
            }
            smri_bf16 *out = (smri_bf16 *)t->out[i] + j;
            if (t->epilogue.scale != NULL) sum = t->epilogue.scale[j] * sum + t->epilogue.shift[j];
            if (t->accumulate) sum += smri_bf16_to_float(*out);
            *out = smri_bf16_from_float(t->epilogue.relu && sum < 0.0f ? 0.0f : sum);
        }
}

static void gemm_tn_ref(const struct smri_gemm_tn *o) {
    const size_t cols = o->blocks * SMRI_CONV_BLOCK;
    const uint32_t *a = o->a, *b = o->b;
    for (size_t i = 0; i < o->rows; i++)
        for (size_t j = 0; j < cols; j++) {
            float sum = 0.0f;
            for (size_t m = 0; m < o->depth; m++) {
                const uint32_t x = a[m * o->lda + i], y = b[m * cols + j];
                sum += low(x) * low(y);
                sum += high(x) * high(y);
            }
            float *out = o->out + j / SMRI_CONV_BLOCK * o->block_stride + i * SMRI_CONV_BLOCK + j % SMRI_CONV_BLOCK;
            *out = o->accumulate ? *out + sum : sum;
        }
}

static uint32_t pair(smri_bf16 even, smri_bf16 odd) { return (uint32_t)odd << 16 | even; }

static void weights_ref(uint32_t *out, const float *in, size_t rows) {
    for (size_t d = 0; d < rows; d += 2)
        for (size_t i = 0; i < SMRI_CONV_BLOCK; i++) {
            const float *even = in + d * SMRI_CONV_BLOCK + i;
            const smri_bf16 odd = d + 1 < rows ? smri_bf16_from_float(even[SMRI_CONV_BLOCK]) : 0;
            *out++ = pair(smri_bf16_from_float(*even), odd);
        }
}

static void interleave_ref(uint32_t *out, const smri_bf16 *even, const smri_bf16 *odd, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = pair(even != NULL ? even[i] : 0, odd != NULL ? odd[i] : 0);
}

static void copy_ref(smri_bf16 *restrict out, size_t out_stride, const smri_bf16 *restrict in, size_t in_stride, size_t rows,
                     size_t n) {
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++) out[r * out_stride + i] = in[r * in_stride + i];
}

void smri_bf16_dot2_kernels_ref(struct smri_bf16_dot2_kernels *kernels) {
    *kernels = (struct smri_bf16_dot2_kernels){tile_ref, gemm_tn_ref, weights_ref, interleave_ref, copy_ref};
}
