/* Shared by the files of the direct method and of its relative in bf16, the pairs method. */
#ifndef SMRI_LAYERS_CONV2D_IGEMM_H
#define SMRI_LAYERS_CONV2D_IGEMM_H

#include "kernels/kernels.h"
#include "layers/conv2d/methods.h"

/* With fewer channels than this a tap is too short for the kernel's inner loop, and the windows are packed into rows of
 * R S C instead: the stem (49 or 147 long). */
#define SMRI_CONV2D_PACK_BELOW 16

static inline bool smri_conv2d_packs_windows(const struct smri_conv2d *shape) {
    return shape->C < SMRI_CONV2D_PACK_BELOW && !smri_conv2d_is_pointwise(shape);
}

/* Words of two bf16 numbers that hold n numbers; the last one's partner may be missing. */
static inline size_t smri_conv2d_pairs(size_t n) { return (n + 1) / 2; }

/* igemm.c: forward (out y, source x) or backward-data (out dx, source dy) in the shape's precision. Weights are
 * as the kernel reads them, [columns of out / 32][tap][depth][32] floats, or pairs of rows of that: for windows that are
 * packed, all taps' rows are one tap. An epilogue says itself whether it accumulates. */
struct smri_conv2d_gather {
    bool backward, accumulate;
    struct smri_conv2d_fused_args fused;
};
size_t smri_conv2d_gather_part_rows(bool backward, const struct smri_conv2d *shape);
struct smri_workspace_bytes smri_conv2d_gather_bytes(bool backward, const struct smri_conv2d *shape);
bool smri_conv2d_gather_has_prologue(const struct smri_conv2d *shape);
void smri_conv2d_gather(void *out, const void *source, const void *weights, const struct smri_conv2d_gather *how,
                        const struct smri_conv2d *shape, const struct smri_workspace *workspace, smri_pool *pool);

/* igemm_wgrad.c: in the shape's precision */
struct smri_workspace_bytes smri_conv2d_igemm_wgrad_bytes(const struct smri_conv2d *shape);
void smri_conv2d_igemm_backward_weights(float *dw, const void *x, const void *dy, const struct smri_conv2d *shape,
                                         const struct smri_workspace *workspace, smri_pool *pool);

/* The window of output pixel (n, p, q) as R S C numbers of the shape's precision, zeros in the padding. */
void smri_conv2d_pack_window(void *out, const void *x, const struct smri_conv2d *shape, const struct smri_kernels *kernels,
                             size_t n, size_t p, size_t q);

#endif
