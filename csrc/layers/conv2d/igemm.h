/* Shared by the files of igemm and of its relative in bf16, bf16_dot2. */
#pragma once

#include "kernels/kernels.h"
#include "layers/conv2d/methods.h"

/* igemm.c: forward or backward-data in the shape's precision. Weights are as the kernel reads them, [columns of
 * out / 32][tap][depth][32] floats, or pairs of rows of that: for windows that are packed, all taps' rows are one tap. */
size_t smri_conv2d_gather_part_rows(enum smri_conv2d_direction direction, const struct smri_conv2d *shape);
struct smri_workspace_bytes smri_conv2d_gather_bytes(enum smri_conv2d_direction direction, const struct smri_conv2d *shape);
void smri_conv2d_gather(enum smri_conv2d_direction direction, const void *weights, const struct smri_conv2d_call *call);

/* igemm_wgrad.c: in the shape's precision */
struct smri_workspace_bytes smri_conv2d_igemm_wgrad_bytes(const struct smri_conv2d *shape);
void smri_conv2d_igemm_backward_weights(const struct smri_conv2d_call *call);

/* The window of output pixel (n, p, q) as R S C numbers of the shape's precision, zeros in the padding. */
void smri_conv2d_pack_window(void *out, const void *x, const struct smri_conv2d *shape, const struct smri_kernels *kernels,
                             size_t n, size_t p, size_t q);
