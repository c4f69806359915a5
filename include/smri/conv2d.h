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

/* What becomes of a sum before it is stored, for inference, where a convolution's batch norm is known beforehand:
 *     y = scale[k] * (the convolution) + shift[k], plus what y holds if `accumulate` (a residual), then max(0, .) if `relu`
 * in fp32, rounded once. */
struct smri_conv2d_epilogue {
    const float *scale, *shift; /* [K] */
    bool accumulate, relu;
};

/* What callbacks do with the source of a convolution (x, or dy in backward-data) and with its result (y, or dx), part by part,
 * while a part is in a cache. A part is `rows` pixels from pixel `first` of the batch on. Any function may be NULL; any thread
 * calls them.
 *   produce_src  writes a part of the source, which is read nowhere else, to `part`, one pixel after the other. Some parts are
 *                produced more than once; `keep` is true once for each pixel.
 *   consume_dst  is given channels [channel, channel + channels) of a finished part of the result, every number once, and may
 *                change them.
 * producer_reads (of the source's shape) and consumer_reads (of the result's) are tensors that the callbacks will read, for
 * prefetching; NULL: none. */
struct smri_conv2d_fusion {
    void (*produce_src)(void *producer, void *part, size_t first, size_t rows, bool keep);
    void *producer;
    const void *producer_reads[2];
    void (*consume_dst)(void *consumer, size_t first, size_t rows, size_t channel, size_t channels);
    void *consumer;
    const void *consumer_reads;
};

enum smri_conv2d_direction { SMRI_CONV2D_FORWARD, SMRI_CONV2D_BACKWARD_DATA, SMRI_CONV2D_BACKWARD_WEIGHTS };

/* The ways in which a convolution can be computed. All agree to rounding; each gives the same bits with any pool. */
enum smri_conv2d_method {
    SMRI_CONV2D_AUTO,      /* the one that smri_conv2d_choose names */
    SMRI_CONV2D_REFERENCE, /* the definition, in plain loops */
    SMRI_CONV2D_IM2COL,    /* one matrix product of the BLAS for each tile: every CPU, every shape */
    SMRI_CONV2D_IGEMM,     /* our register tiles, reading activations where they lie */
    SMRI_CONV2D_WINOGRAD,  /* F(4x4, 3x3): 3 x 3 windows with stride 1, on register tiles */
    SMRI_CONV2D_AMX,       /* bf16 on the tile registers of AMX */
    SMRI_CONV2D_BF16_DOT2, /* bf16 by igemm's tiles on pairs of numbers (AVX512_BF16) */
    SMRI_CONV2D_VIA_FP32,  /* bf16 on any CPU: the best fp32 method on widened copies */
    SMRI_CONV2D_METHODS
};

/* "auto", "reference", "im2col", "igemm", "winograd", "amx", "bf16_dot2", "via_fp32". */
const char *smri_conv2d_method_name(enum smri_conv2d_method method);

/* Whether the method can do this shape and direction with the instruction set in use. */
bool smri_conv2d_supports(enum smri_conv2d_method method, enum smri_conv2d_direction direction,
                          const struct smri_conv2d *shape);

/* The fastest supported method: the one place that decides, with the reasons, is layers/conv2d/choose.c. */
enum smri_conv2d_method smri_conv2d_choose(enum smri_conv2d_direction direction, const struct smri_conv2d *shape);

/* Parts begin at multiples of so many pixels. 0: the method has none for this shape in this direction. */
size_t smri_conv2d_part_rows(enum smri_conv2d_method method, enum smri_conv2d_direction direction,
                             const struct smri_conv2d *shape);

/* A convolution to be done. The buffers do not overlap; the workspace is 64-byte aligned, the others need no alignment. */
struct smri_conv2d_call {
    const struct smri_conv2d *shape;
    enum smri_conv2d_method method; /* SMRI_CONV2D_AUTO: the fastest one */
    void *out;                      /* y[N][P][Q][K], dx[N][H][W][C], or dw in the packed layout: overwritten, padding included */
    const void *x, *dy;             /* the one or both that the direction reads */
    const float *w;                 /* packed; not for backward-weights */
    bool accumulate;                /* backward-data: dx is added to */
    const struct smri_conv2d_epilogue *epilogue; /* forward without fusion, or NULL */
    /* Forward and backward-data, where smri_conv2d_part_rows is not 0; or NULL. With one that produces the source x or dy is not
     * read. */
    const struct smri_conv2d_fusion *fusion;
    struct smri_workspace workspace;
    smri_pool *pool;
};

/* The workspace of a call, with or without an epilogue. */
struct smri_workspace_bytes smri_conv2d_workspace_bytes(enum smri_conv2d_method method, enum smri_conv2d_direction direction,
                                                        bool with_epilogue, const struct smri_conv2d *shape);

void smri_conv2d_forward(const struct smri_conv2d_call *call);
void smri_conv2d_backward_data(const struct smri_conv2d_call *call);
void smri_conv2d_backward_weights(const struct smri_conv2d_call *call);

/* The same, but other threads may still be at their last tasks when this returns: dw is complete, and x, dy and what is shared
 * of the workspace are free, after smri_pool_finish. */
void smri_conv2d_backward_weights_begin(const struct smri_conv2d_call *call);

SMRI_API_END

#endif
