/* Shared by the files of the tiles method: bf16 convolution on the tile registers of AMX. */
#ifndef SMRI_LAYERS_CONV2D_TILES_H
#define SMRI_LAYERS_CONV2D_TILES_H

#include "layers/conv2d_methods.h"

/* conv2d_tiles_weights.c */
bool smri_conv2d_tiles_supports_weights(const struct smri_conv2d *shape);
size_t smri_conv2d_tiles_weights_bytes(const struct smri_conv2d *shape, size_t n_threads);
void smri_conv2d_tiles_backward_weights(float *dw, const void *x, const void *dy, const struct smri_conv2d *shape,
                                        void *workspace, smri_pool *pool);

#endif
