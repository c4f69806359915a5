/* Shared by the two files of the direct method. */
#ifndef SMRI_LAYERS_CONV2D_DIRECT_H
#define SMRI_LAYERS_CONV2D_DIRECT_H

#include "kernels/conv.h"
#include "layers/conv2d_methods.h"

/* With fewer channels than this a tap is too short for the kernel's inner loop, and the windows are packed into rows of
 * R S C instead: the stem (49 or 147 long). */
#define SMRI_CONV2D_PACK_BELOW 16

/* conv2d_direct_weights.c */
size_t smri_conv2d_direct_weights_bytes(const struct smri_conv2d *shape, size_t n_threads);
void smri_conv2d_direct_backward_weights(float *dw, const void *x, const void *dy, const struct smri_conv2d *shape,
                                         void *workspace, smri_pool *pool);

/* The window of output pixel (n, p, q) as R S C floats, zeros in the padding. */
void smri_conv2d_pack_window(float *out, const float *x, const struct smri_conv2d *shape,
                             const struct smri_conv_kernels *kernels, size_t n, size_t p, size_t q);

#endif
