/* bf16 convolution on the tile registers of AMX: products of bfloat16 pairs, sums in fp32, rounded once. */
#include "layers/conv2d_tiles.h"

#include "smri/cpu.h"

static bool supports(enum smri_conv2d_direction direction, const struct smri_conv2d *shape) {
    if (shape->precision != SMRI_BF16 || smri_isa_selected() < SMRI_ISA_AMX) return false;
    return direction == SMRI_CONV2D_BACKWARD_WEIGHTS && smri_conv2d_tiles_supports_weights(shape);
}

static size_t workspace_bytes(enum smri_conv2d_direction direction, const struct smri_conv2d *shape, size_t n_threads) {
    (void)direction;
    return smri_conv2d_tiles_weights_bytes(shape, n_threads);
}

const struct smri_conv2d_ops smri_conv2d_tiles_ops = {
    .name = "tiles",
    .supports = supports,
    .workspace_bytes = workspace_bytes,
    .backward_weights = smri_conv2d_tiles_backward_weights,
};
