/* Batch normalisation's kernels compiled for NEON; the code and its reasons are in batchnorm_loops.h. */
#include "kernels/batchnorm/batchnorm_loops.h"

void smri_batchnorm_kernels_neon(struct smri_batchnorm_kernels table[SMRI_PRECISIONS]) {
    fill_fp32(&table[SMRI_FP32]);
    fill_bf16(&table[SMRI_BF16]);
}
