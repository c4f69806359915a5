/* The inner loops of convolution. A convolution is cut into register tiles of SMRI_CONV_ROWS pixels and SMRI_CONV_COLS
 * output channels; a kernel computes one tile, the layer decides which pixels a tile holds and where their inputs lie.
 * README.md in this folder has the drawings and the derivation of the sizes. No kernel reads or writes outside what is
 * stated; none needs alignment.
 *
 * The structs serve two families: here numbers are floats; bf16_dot2.h says what they are in bfloat16. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "kernels/conv/epilogue.h"
#include "kernels/family.h"

#define SMRI_CONV_ROWS 6   /* 6 x 64 floats are 24 accumulators of 512 bits: 10 loads for 24 multiply-adds a step */
#define SMRI_CONV_COLS 64  /* two blocks of packed weights */
#define SMRI_CONV_BLOCK 32 /* columns of one block */

/* Memory that will be read soon: rows of `lines` cache lines, `stride` bytes apart, of which `done` lines of the first are
 * on their way. A kernel moves it along. */
struct smri_prefetch_stream {
    const char *row;
    size_t lines, stride, rows, done;
};

/* Asks for the next n lines, into the second-level cache. */
static inline void smri_prefetch_advance(struct smri_prefetch_stream *prefetch, size_t n) {
    for (; n > 0 && prefetch->rows > 0; n--) {
        __builtin_prefetch(prefetch->row + prefetch->done * 64, 0, 2);
        if (++prefetch->done < prefetch->lines) continue;
        prefetch->done = 0, prefetch->row += prefetch->stride, prefetch->rows--;
    }
}

/* One tap of a tile: where each of its pixels reads, and where the tap's weights begin. */
struct smri_conv_tap {
    const void *rows[SMRI_CONV_ROWS];
    size_t weights; /* floats (or pairs) from smri_conv_tile.weights */
};

/* out[i][j] (+)= sum over taps, over d < depth of tap.rows[i][d] * weights[tap.weights + j / 32 * block_stride + 32 d
 * + j % 32] for i < rows <= 6 and j < cols <= 64. Without `accumulate` out is never read; no taps give zeros. All 32 lanes
 * of a block of weights are read; the second block is not touched when cols <= 32. `streamed` writes whole cache lines
 * past the caches, if out lies on them and is not accumulated to; smri_store_fence completes that. epilogue.scale and
 * shift are of column 0; cols of each are read. While it multiplies, the kernel may ask for prefetch_rate lines of
 * `prefetch` every four steps of d; 0 for none. */
struct smri_conv_tile {
    void *out[SMRI_CONV_ROWS];
    size_t rows, cols;
    bool accumulate;
    const struct smri_conv_tap *taps;
    size_t n_taps, depth;
    const void *weights;
    size_t block_stride;
    bool streamed;
    struct smri_epilogue epilogue;
    struct smri_prefetch_stream *prefetch;
    size_t prefetch_rate;
};

/* The gradient of weights: out[j / 32 * block_stride + 32 i + j % 32] (+)= sum over m < depth of a[m lda + i] * b[m][j]
 * for i < rows <= 6 and j < 32 blocks; b is [depth][32 blocks], contiguous; blocks is 1 or 2. `prefetch` is as in a tile,
 * with steps of m. */
struct smri_gemm_tn {
    float *out;
    size_t block_stride, rows, blocks;
    bool accumulate;
    const void *a;
    size_t lda;
    const void *b;
    size_t depth;
    struct smri_prefetch_stream *prefetch;
    size_t prefetch_rate;
};

struct smri_conv_kernels {
    void (*tile)(const struct smri_conv_tile *tile);
    void (*gemm_tn)(const struct smri_gemm_tn *outer);
    /* out[32][32] = in[32][32] transposed, both contiguous; only the first `rows` rows of in are read (the others count as
     * zeros) and only the first `cols` rows of out are written. */
    void (*transpose)(float *out, const float *in, size_t rows, size_t cols);
    /* out[r * out_stride + i] = in[r * in_stride + i] for r < rows, i < n: the short rows of packing, for which a call of
     * memcpy costs as much as the copy. */
    void (*copy)(float *restrict out, size_t out_stride, const float *restrict in, size_t in_stride, size_t rows, size_t n);
};

SMRI_DECLARE_FILLERS(smri_conv_kernels, struct smri_conv_kernels);
