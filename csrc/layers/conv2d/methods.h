/* What a convolution method implements, and the small arithmetic that all of them share. */
#ifndef SMRI_LAYERS_CONV2D_METHODS_H
#define SMRI_LAYERS_CONV2D_METHODS_H

#include <stdint.h>

#include "smri/conv2d_method.h"

#define SMRI_CONV2D_BLOCK 32 /* output channels in one block of the packed weights: two 512-bit vectors */

/* What goes along with a forward pass. `prologue` is NULL unless has_prologue, `epilogue` unless has_epilogue,
 * `fusion` unless part_rows says more than 0. */
struct smri_conv2d_fused_args {
    const struct smri_conv2d_prologue *prologue;
    const struct smri_conv2d_epilogue *epilogue;
    const struct smri_conv2d_fusion *fusion;
};

struct smri_conv2d_ops {
    const char *name;
    bool (*supports)(enum smri_conv2d_direction direction, const struct smri_conv2d *shape);
    struct smri_workspace_bytes (*workspace_bytes)(enum smri_conv2d_direction direction, const struct smri_conv2d *shape);
    void (*forward)(void *y, const void *x, const float *w, const struct smri_conv2d_fused_args *fused,
                    const struct smri_conv2d *shape, const struct smri_workspace *workspace, smri_pool *pool);
    /* `fusion` is NULL unless part_rows says more than 0. */
    void (*backward_data)(void *dx, const void *dy, const float *w, bool accumulate, const struct smri_conv2d_fusion *fusion,
                          const struct smri_conv2d *shape, const struct smri_workspace *workspace, smri_pool *pool);
    void (*backward_weights)(float *dw, const void *x, const void *dy, const struct smri_conv2d *shape,
                             const struct smri_workspace *workspace, smri_pool *pool);
    bool has_epilogue; /* forward applies one itself */
    bool (*has_prologue)(const struct smri_conv2d *shape); /* whether forward applies one itself; NULL: nowhere */
    size_t (*part_rows)(bool backward, const struct smri_conv2d *shape); /* of forward, or of backward-data; NULL: 0 */
};

extern const struct smri_conv2d_ops smri_conv2d_reference_ops;
extern const struct smri_conv2d_ops smri_conv2d_im2col_ops;
extern const struct smri_conv2d_ops smri_conv2d_winograd_ops;
extern const struct smri_conv2d_ops smri_conv2d_igemm_ops;
extern const struct smri_conv2d_ops smri_conv2d_amx_ops;
extern const struct smri_conv2d_ops smri_conv2d_bf16_dot2_ops;
extern const struct smri_conv2d_ops smri_conv2d_via_fp32_ops;

/* prologue.c: out[i] = what the prologue makes of pixels[i], which point to channels [channel, channel + channels) of
 * pixels of one image of x; out's rows are out_stride numbers apart. */
void smri_conv2d_activate(void *out, size_t out_stride, const void *const *pixels, size_t count,
                          const struct smri_conv2d_prologue *prologue, const struct smri_conv2d *shape, size_t image,
                          size_t channel, size_t channels);
/* The same of all channels of `count` pixels from pixel `first` of the batch on, one after the other. */
void smri_conv2d_activate_run(void *out, const void *x, const struct smri_conv2d_prologue *prologue,
                              const struct smri_conv2d *shape, size_t first, size_t count);

/* Packed weights [K/32][tap][C][32] to [C/32][tap][K][32], padded with zeros: backward-data's weights. */
void smri_conv2d_transpose_weights(float *out, const float *w, const struct smri_conv2d *shape, smri_pool *pool);

static inline size_t smri_conv2d_blocks(size_t channels) {
    return (channels + SMRI_CONV2D_BLOCK - 1) / SMRI_CONV2D_BLOCK;
}

/* Channels that block `index` really has: 32, or what is left in the last one. */
static inline size_t smri_conv2d_block_width(size_t channels, size_t index) {
    const size_t left = channels - index * SMRI_CONV2D_BLOCK;
    return left < SMRI_CONV2D_BLOCK ? left : SMRI_CONV2D_BLOCK;
}

/* A 1x1 window that reads every pixel once: the convolution is one matrix product over all pixels. */
static inline bool smri_conv2d_is_pointwise(const struct smri_conv2d *shape) {
    return shape->R == 1 && shape->S == 1 && shape->stride == 1 && shape->pad == 0;
}

#endif
