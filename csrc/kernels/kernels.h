/* The one dispatch table. Each family has its own struct of function pointers and its own header; `_ref` fills every slot,
 * and each instruction set in use overwrites only the slots it improves. Layers reach kernels through this table only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "kernels/conv/igemm.h"
#include "kernels/conv/amx_tile.h"
#include "kernels/conv/amx_wgrad.h"
#include "kernels/conv/bf16_dot2.h"
#include "kernels/convert/convert.h"
#include "kernels/batchnorm/batchnorm.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/peak/peak.h"
#include "kernels/pixels/pixels.h"
#include "kernels/random/random.h"
#include "kernels/softmax/softmax.h"
#include "kernels/pool2d/pool2d.h"
#include "kernels/winograd/winograd.h"

struct smri_kernels {
    struct smri_conv_kernels conv;
    struct smri_amx_kernels amx;
    struct smri_amx_wgrad_kernels amx_wgrad;
    struct smri_bf16_dot2_kernels bf16_dot2;
    struct smri_convert_kernels convert;
    struct smri_batchnorm_kernels batchnorm[SMRI_PRECISIONS];
    struct smri_pool2d_kernels pool2d[SMRI_PRECISIONS];
    struct smri_softmax_kernels softmax;
    struct smri_optimizer_kernels optimizer;
    struct smri_pixel_kernels pixels;
    struct smri_random_kernels random;
    struct smri_winograd_kernels winograd[SMRI_PRECISIONS];
    struct smri_peak_kernels peak;
};

/* Whether an output of so many bytes that is no input should be written past the caches: ordinary stores first read the lines
 * that they overwrite. Measured on a core with 2 MiB of second-level cache, writing an array and reading it back: 1.37
 * times faster past the caches from 16 MiB on, 1.0 (warm caches) to 1.39 (cold) at 8 MiB, 0.7 to 1.3 at 4 MiB. */
static inline bool smri_is_streamed(size_t bytes) { return bytes >= (size_t)8 << 20; }

/* The table of the instruction sets in use: smri_isa_selected(). */
const struct smri_kernels *smri_kernels_get(void);
