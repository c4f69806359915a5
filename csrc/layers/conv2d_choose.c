/* The one place that decides how a convolution is computed. */
#include "layers/conv2d_methods.h"
#include "smri/cpu.h"

enum smri_conv2d_method smri_conv2d_choose(enum smri_conv2d_direction direction, const struct smri_conv2d *shape) {
    (void)direction, (void)shape;
    /* The register tiles have no portable vector form; the BLAS brings its own. */
    return smri_isa_selected() >= SMRI_ISA_AVX2 ? SMRI_CONV2D_DIRECT : SMRI_CONV2D_GEMM;
}
