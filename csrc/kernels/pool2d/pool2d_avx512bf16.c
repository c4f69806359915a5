/* Pooling's kernels of bfloat16 with the instruction that rounds to it; the code is in pool2d_loops.h. */
#include "kernels/pool2d/pool2d_loops.h"

void smri_pool2d_kernels_avx512bf16(struct smri_pool2d_kernels table[SMRI_PRECISIONS]) { fill_bf16(&table[SMRI_BF16]); }
