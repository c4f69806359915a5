/* The inner loops of convolution in bfloat16, for instructions that multiply words of two numbers and add both products
 * to one fp32 sum. A word of 32 bits holds two neighbours along the sum: two channels, or two pixels in the gradient
 * of weights. Where the kernels of igemm.h have a float, these have a word, so the structs, the tile and the panels
 * are the same. No kernel reads or writes outside what is stated; none needs alignment. */
#pragma once

#include <stdint.h>

#include "kernels/conv/igemm.h"
#include "kernels/family.h"

struct smri_bf16_dot2_kernels {
    /* igemm.h's tile with rows and results of bfloat16. `depth` counts channels; a tap's weights are [ceil(depth / 2)][32]
     * words, `weights` and block_stride count words, and the partner of a last odd channel is 0. Sums, the old result
     * included, are fp32 and rounded once. */
    void (*tile)(const struct smri_conv_tile *tile);
    /* igemm.h's gemm_tn with a and b of words: `depth` counts pairs of pixels, lda counts words, and out is fp32. */
    void (*gemm_tn)(const struct smri_gemm_tn *outer);
    /* out[ceil(rows / 2)][32] = pairs of the rows 2d and 2d + 1 of in[rows][32], rounded; the partner of a last odd row
     * is 0. */
    void (*weights)(uint32_t *out, const float *in, size_t rows);
    /* out[i] = the pair (even[i], odd[i]) for i < n; NULL counts as zeros. */
    void (*interleave)(uint32_t *out, const smri_bf16 *even, const smri_bf16 *odd, size_t n);
    /* igemm.h's copy. */
    void (*copy)(smri_bf16 *restrict out, size_t out_stride, const smri_bf16 *restrict in, size_t in_stride, size_t rows,
                 size_t n);
};

SMRI_DECLARE_FILLERS(smri_bf16_dot2_kernels, struct smri_bf16_dot2_kernels);
