/* What a convolution method implements. */
#pragma once

#include <stdint.h>

#include "layers/conv2d/geometry.h"

struct smri_conv2d_ops {
    const char *name;
    bool (*supports)(enum smri_conv2d_direction direction, const struct smri_conv2d *shape);
    struct smri_workspace_bytes (*workspace_bytes)(enum smri_conv2d_direction direction, const struct smri_conv2d *shape);
    /* A call's epilogue is NULL unless has_epilogue, its fusion unless part_rows says more than 0. The method in a call is not
     * looked at. */
    void (*forward)(const struct smri_conv2d_call *call);
    void (*backward_data)(const struct smri_conv2d_call *call);
    void (*backward_weights_begin)(const struct smri_conv2d_call *call);
    bool has_epilogue; /* forward applies one itself */
    size_t (*part_rows)(enum smri_conv2d_direction direction, const struct smri_conv2d *shape); /* NULL: 0 */
};

/* `supports` of the methods that take every shape of one precision, in every direction. */
static inline bool smri_conv2d_takes_fp32(enum smri_conv2d_direction direction, const struct smri_conv2d *shape) {
    return shape->precision == SMRI_FP32;
}
static inline bool smri_conv2d_takes_bf16(enum smri_conv2d_direction direction, const struct smri_conv2d *shape) {
    return shape->precision == SMRI_BF16;
}

extern const struct smri_conv2d_ops smri_conv2d_reference_ops;
extern const struct smri_conv2d_ops smri_conv2d_im2col_ops;
extern const struct smri_conv2d_ops smri_conv2d_winograd_ops;
extern const struct smri_conv2d_ops smri_conv2d_igemm_ops;
extern const struct smri_conv2d_ops smri_conv2d_amx_ops;
extern const struct smri_conv2d_ops smri_conv2d_bf16_dot2_ops;
extern const struct smri_conv2d_ops smri_conv2d_via_fp32_ops;

/* A method's implementation; of SMRI_CONV2D_AUTO that of the chosen one. */
const struct smri_conv2d_ops *smri_conv2d_ops_of(enum smri_conv2d_method method, enum smri_conv2d_direction direction,
                                                 const struct smri_conv2d *shape);

/* Packed weights [K/32][tap][C][32] to [C/32][tap][K][32], padded with zeros: backward-data's weights. */
void smri_conv2d_transpose_weights(float *out, const float *w, const struct smri_conv2d *shape, smri_pool *pool);
