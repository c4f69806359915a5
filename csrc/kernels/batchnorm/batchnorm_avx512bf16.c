/* Batch normalisation's kernels of bfloat16 with the instruction that rounds to it; the code is in batchnorm_loops.h. */
#include "kernels/batchnorm/batchnorm_loops.h"

void smri_batchnorm_kernels_avx512bf16(struct smri_batchnorm_kernels table[SMRI_PRECISIONS]) { fill_bf16(&table[SMRI_BF16]); }
