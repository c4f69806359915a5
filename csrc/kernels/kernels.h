/* The one dispatch table. Each family has its own struct of function pointers and its own header; `_ref` fills every slot,
 * and each instruction set above it overwrites only the slots it improves. Layers reach kernels through this table only. */
#ifndef SMRI_KERNELS_H
#define SMRI_KERNELS_H

#include "kernels/conv.h"
#include "kernels/elementwise.h"
#include "kernels/norm.h"
#include "kernels/optimizer.h"
#include "kernels/pixels.h"
#include "kernels/softmax.h"
#include "kernels/window.h"
#include "kernels/winograd.h"

struct smri_kernels {
    struct smri_conv_kernels conv;
    struct smri_norm_kernels norm;
    struct smri_elementwise_kernels elementwise;
    struct smri_window_kernels window;
    struct smri_softmax_kernels softmax;
    struct smri_optimizer_kernels optimizer;
    struct smri_pixel_kernels pixels;
    struct smri_winograd_kernels winograd;
};

/* The table of the level that smri_isa_selected() names. */
const struct smri_kernels *smri_kernels_get(void);

#endif
