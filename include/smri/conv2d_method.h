/* The ways in which a convolution can be computed, for tests and benchmarks. Everyone else calls smri/conv2d.h, which takes
 * the method that smri_conv2d_choose names. All methods agree to rounding; each gives the same bits with any pool. */
#ifndef SMRI_CONV2D_METHOD_H
#define SMRI_CONV2D_METHOD_H

#include <stdbool.h>
#include <stddef.h>

#include "smri/api.h"
#include "smri/conv2d.h"

SMRI_API_BEGIN

enum smri_conv2d_method {
    SMRI_CONV2D_REFERENCE, /* the definition, in plain loops */
    SMRI_CONV2D_IM2COL,      /* one matrix product of the BLAS for each tile: every CPU, every shape */
    SMRI_CONV2D_IGEMM,    /* our register tiles, reading activations where they lie */
    SMRI_CONV2D_WINOGRAD,  /* F(4x4, 3x3): 3 x 3 windows with stride 1, on register tiles */
    SMRI_CONV2D_AMX,     /* bf16 on the tile registers of AMX */
    SMRI_CONV2D_BF16_DOT2,     /* bf16 by the direct method's tiles on pairs of numbers (AVX512_BF16) */
    SMRI_CONV2D_VIA_FP32,   /* bf16 on any CPU: the best fp32 method on widened copies */
    SMRI_CONV2D_METHODS
};

/* "reference", "im2col", "igemm", "winograd", "amx", "bf16_dot2", "via_fp32". */
const char *smri_conv2d_method_name(enum smri_conv2d_method method);

/* Whether the method can do this shape and direction with the instruction set in use. */
bool smri_conv2d_supports(enum smri_conv2d_method method, enum smri_conv2d_direction direction,
                          const struct smri_conv2d *shape);

/* The fastest supported method: the one place that decides, with the reasons, is layers/conv2d/choose.c. */
enum smri_conv2d_method smri_conv2d_choose(enum smri_conv2d_direction direction, const struct smri_conv2d *shape);

/* smri_conv2d_part_rows of the named method. */
size_t smri_conv2d_method_part_rows(enum smri_conv2d_method method, enum smri_conv2d_direction direction,
                                    const struct smri_conv2d *shape);

/* Workspace of one method and direction. */
struct smri_workspace_bytes smri_conv2d_method_workspace_bytes(enum smri_conv2d_method method,
                                                               enum smri_conv2d_direction direction,
                                                               const struct smri_conv2d *shape);

/* The same of forward with a prologue, and with an epilogue. */
struct smri_workspace_bytes smri_conv2d_method_prologue_bytes(enum smri_conv2d_method method,
                                                              const struct smri_conv2d *shape);
struct smri_workspace_bytes smri_conv2d_method_epilogue_bytes(enum smri_conv2d_method method,
                                                              const struct smri_conv2d *shape);

/* smri_conv2d_forward, _forward_epilogue, _backward_data and _backward_weights by the named method, which must support
 * the shape. */
void smri_conv2d_forward_by(enum smri_conv2d_method method, void *y, const void *x, const float *w,
                            const struct smri_conv2d_prologue *prologue, const struct smri_conv2d_fusion *fusion,
                            const struct smri_conv2d *shape, const struct smri_workspace *workspace, smri_pool *pool);
void smri_conv2d_forward_epilogue_by(enum smri_conv2d_method method, void *y, const void *x, const float *w,
                                     const struct smri_conv2d_epilogue *epilogue, const struct smri_conv2d *shape,
                                     const struct smri_workspace *workspace, smri_pool *pool);
void smri_conv2d_backward_data_by(enum smri_conv2d_method method, void *dx, const void *dy, const float *w,
                                  bool accumulate, const struct smri_conv2d_fusion *fusion,
                                  const struct smri_conv2d *shape, const struct smri_workspace *workspace, smri_pool *pool);
void smri_conv2d_backward_weights_by(enum smri_conv2d_method method, float *dw, const void *x, const void *dy,
                                     const struct smri_conv2d *shape, const struct smri_workspace *workspace,
                                         smri_pool *pool);

SMRI_API_END

#endif
