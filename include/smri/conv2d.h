/* Two-dimensional convolution (cross-correlation), forward and backward, on NHWC activations.
 *
 *     y[n][p][q][k] = sum over r, s, c of x[n][p*stride + r - pad][q*stride + s - pad][c] * w[k][c][r][s]
 *
 * Weights live in a packed layout so that the forward pass needs no packing: [ceil(K/32)][R*S][C][32], padded with zeros
 * when 32 does not divide K. The padding's gradient is zero, so any element-wise optimizer leaves it zero. Weights and
 * their gradient are floats in either precision; with SMRI_BF16 the products take them rounded to bfloat16. */
#ifndef SMRI_CONV2D_H
#define SMRI_CONV2D_H

#include <stdbool.h>
#include <stddef.h>

#include "smri/api.h"
#include "smri/pool.h"
#include "smri/precision.h"
#include "smri/status.h"
#include "smri/workspace.h"

SMRI_API_BEGIN

struct smri_conv2d {
    size_t N, H, W, C;  /* input: images, rows, columns, channels */
    size_t K;           /* output channels */
    size_t R, S;        /* window rows and columns */
    size_t stride, pad; /* the same in both directions */
    enum smri_precision precision; /* of x, y and their gradients: float or smri_bf16 */
};

/* Rows and columns of the output: (H + 2 pad - R) / stride + 1. */
size_t smri_conv2d_out_rows(const struct smri_conv2d *shape);
size_t smri_conv2d_out_cols(const struct smri_conv2d *shape);

/* SMRI_SHAPE or SMRI_MEMORY unless every size is positive, the window fits the padded input and no product overflows. */
smri_status smri_conv2d_check(const struct smri_conv2d *shape);

/* Floats of the packed weights, and the two permutations between [K][C][R][S] (PyTorch's order) and the packed layout. */
size_t smri_conv2d_packed_size(const struct smri_conv2d *shape);
void smri_conv2d_pack(float *packed, const float *kcrs, const struct smri_conv2d *shape);
void smri_conv2d_unpack(float *kcrs, const float *packed, const struct smri_conv2d *shape);

/* What becomes of x before forward multiplies it, for training: the batch norm and the ReLU in front of the convolution,
 *     x <- max(0, scale[g][c] * x + shift[g][c])    for the images of group g, which is one of `groups` equal parts of N
 * in fp32, rounded once; the padding stays zero. The bits are those of smri_scale_shift_add_relu on all of x
 * beforehand. NULL: x as it is. */
struct smri_conv2d_prologue {
    const float *scale, *shift; /* [groups][C] */
    size_t groups;
};

/* What callbacks do with the source of a convolution (x, or dy in backward-data) and with its result (y, or dx), part by part,
 * while a part is in a cache. A part is `rows` pixels from pixel `first` of the batch on. Any function may be NULL; any thread
 * calls them.
 *   produce_src  writes a part of the source, which is read nowhere else, to `part`, one pixel after the other. Some parts are
 *                produced more than once; `keep` is true once for each pixel.
 *   init_dst     writes channels [channel, channel + channels) of a part of the result before the convolution is added to it
 *                (`accumulate`), every number once.
 *   consume_dst  is given channels [channel, channel + channels) of a finished part of the result, every number once, and may
 *                change them.
 * producer_reads (of the source's shape) and consumer_reads (of the result's) are tensors that the callbacks will read, for
 * prefetching; NULL: none. */
struct smri_conv2d_fusion {
    void (*produce_src)(void *producer, void *part, size_t first, size_t rows, bool keep);
    void *producer;
    const void *producer_reads[2];
    void (*init_dst)(void *init_ctx, size_t first, size_t rows, size_t channel, size_t channels);
    void *init_ctx;
    void (*consume_dst)(void *consumer, size_t first, size_t rows, size_t channel, size_t channels);
    void *consumer;
    const void *consumer_reads;
};

enum smri_conv2d_direction { SMRI_CONV2D_FORWARD, SMRI_CONV2D_BACKWARD_DATA, SMRI_CONV2D_BACKWARD_WEIGHTS };

/* Parts begin at multiples of so many pixels. 0: this shape has none in this direction. */
size_t smri_conv2d_part_rows(enum smri_conv2d_direction direction, const struct smri_conv2d *shape);

/* The workspace that any of the three directions needs, for this N and every smaller one; and for forward with a prologue. */
struct smri_workspace_bytes smri_conv2d_workspace_bytes(const struct smri_conv2d *shape);
struct smri_workspace_bytes smri_conv2d_prologue_workspace_bytes(const struct smri_conv2d *shape);

/* y[N][P][Q][K], overwritten. x[N][H][W][C], w packed. No two buffers may overlap; the workspace is 64-byte aligned, the others
 * need no alignment. fusion: NULL, or where smri_conv2d_part_rows is not 0; with one that produces x there is no prologue, and x
 * is not read. */
void smri_conv2d_forward(void *y, const void *x, const float *w, const struct smri_conv2d_prologue *prologue,
                         const struct smri_conv2d_fusion *fusion, const struct smri_conv2d *shape,
                         const struct smri_workspace *workspace, smri_pool *pool);

/* What becomes of a sum before it is stored, for inference, where a convolution's batch norm is known beforehand:
 *     y = scale[k] * (the convolution) + shift[k], plus what y holds if `accumulate` (a residual), then max(0, .) if `relu`
 * in fp32, rounded once. */
struct smri_conv2d_epilogue {
    const float *scale, *shift; /* [K] */
    bool accumulate, relu;
};

/* Forward with an epilogue, in one pass where the method can, and its workspace for this N and every smaller one. */
struct smri_workspace_bytes smri_conv2d_epilogue_workspace_bytes(const struct smri_conv2d *shape);
void smri_conv2d_forward_epilogue(void *y, const void *x, const float *w, const struct smri_conv2d_epilogue *epilogue,
                                  const struct smri_conv2d *shape, const struct smri_workspace *workspace,
                                  smri_pool *pool);

/* dx[N][H][W][C], overwritten, or added to when `accumulate`. dy[N][P][Q][K]. fusion: as in forward. */
void smri_conv2d_backward_data(void *dx, const void *dy, const float *w, bool accumulate,
                               const struct smri_conv2d_fusion *fusion, const struct smri_conv2d *shape,
                               const struct smri_workspace *workspace, smri_pool *pool);

/* dw in the packed layout, overwritten (padding included). When this returns, other threads may still be at their last tasks:
 * dw is complete, and x, dy and what is shared of the workspace are free, after smri_pool_finish. */
void smri_conv2d_backward_weights(float *dw, const void *x, const void *dy, const struct smri_conv2d *shape,
                                  const struct smri_workspace *workspace, smri_pool *pool);

SMRI_API_END

#endif
