/* Pooling compiled for NEON; the code is in pool2d_loops.h. */
#include "kernels/pool2d/pool2d_loops.h"

void smri_pool2d_kernels_neon(struct smri_pool2d_kernels table[SMRI_PRECISIONS]) {
    fill_fp32(&table[SMRI_FP32]);
    fill_bf16(&table[SMRI_BF16]);
}
